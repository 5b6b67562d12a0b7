/* holdfast.h for Swift, which does not import the _IOWR macros: the same numbers as constants. */
#ifndef HOLDFAST_SWIFT_IOCTLS_H
#define HOLDFAST_SWIFT_IOCTLS_H
/* The library is made of the Swift that reads this. */
#define HOLDFAST_NO_LIBRARY
#include "holdfast.h"
static const __u32 holdfast_ioc_seal = HOLDFAST_IOC_SEAL;
static const __u32 holdfast_ioc_unseal = HOLDFAST_IOC_UNSEAL;
static const __u32 holdfast_ioc_pin = HOLDFAST_IOC_PIN;
static const __u32 holdfast_ioc_unpin = HOLDFAST_IOC_UNPIN;
static const __u32 holdfast_ioc_prepare = HOLDFAST_IOC_PREPARE;
static const __u32 holdfast_ioc_layout_get = HOLDFAST_IOC_LAYOUT_GET;
static const __u32 holdfast_ioc_layout_return = HOLDFAST_IOC_LAYOUT_RETURN;
static const __u32 holdfast_ioc_recall_status = HOLDFAST_IOC_RECALL_STATUS;
static const __u32 holdfast_ioc_holders = HOLDFAST_IOC_HOLDERS;
static const __u32 holdfast_ioc_map = HOLDFAST_IOC_MAP;
static const __u32 holdfast_ioc_seals = HOLDFAST_IOC_SEALS;
static const __u32 holdfast_ioc_revoke = HOLDFAST_IOC_REVOKE;
static const __u32 holdfast_ioc_sync = HOLDFAST_IOC_SYNC;
static const __u32 holdfast_ioc_remount = HOLDFAST_IOC_REMOUNT;
static const __u32 holdfast_ioc_info = HOLDFAST_IOC_INFO;
static const __u32 holdfast_ioc_defrag = HOLDFAST_IOC_DEFRAG;
static const __u32 holdfast_ioc_resize = HOLDFAST_IOC_RESIZE;
#endif
