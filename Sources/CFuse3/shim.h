#ifndef HOLDFAST_CFUSE3_SHIM_H
#define HOLDFAST_CFUSE3_SHIM_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#define FUSE_USE_VERSION 312
#include <fuse3/fuse.h>
#include <fuse3/fuse_lowlevel.h>
#endif
