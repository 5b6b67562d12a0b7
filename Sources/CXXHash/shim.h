/* libxxhash (BSD), the field's usual fast hash: names of directory entries and attributes are keyed by it. */
#include <xxhash.h>
