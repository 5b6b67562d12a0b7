/* The text of libholdfast's last error, a thread's own: Swift has no thread-local variables. */
#ifndef HOLDFAST_LAST_ERROR_H
#define HOLDFAST_LAST_ERROR_H

/* A line with two paths in it; what is longer is cut. */
#define HOLDFAST_ERROR_BYTES 8448

char *holdfast_error_text(void);

#endif
