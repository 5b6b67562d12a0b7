#include "last_error.h"

static __thread char text[HOLDFAST_ERROR_BYTES];

char *holdfast_error_text(void) { return text; }
