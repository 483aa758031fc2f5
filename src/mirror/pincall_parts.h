/* What the files of pincall share; included by pincall*.c and pinlog*.c only. */
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "mirror/pincall.h"

#define PIN_PATH_MAX   4096u
#define PIN_STRING_MAX 256u
#define PIN_SOCKADDR   128u        /* sizeof(struct sockaddr_storage): the kernel takes no longer address */
#define PIN_VALUE_MAX  (64u << 10) /* bytes of a socket option or of a message's control data */
#define PIN_SEGMENTS   1024u       /* UIO_MAXIOV, which is the limit of messages too */
#define PIN_FDS_MAX    65536u      /* descriptors of a select set */
#define PIN_NODES_MAX  65536u
#define PIN_TOTAL_MAX  (PINCALL_BYTES_MAX + PIN_VALUE_MAX)
#define PIN_SIGSET     8u

/* Appends a region with room for its bytes, which are zero. */
PinRegion *pincall_add_region(PinCall *call, guint arg, PinPart part, guint message, guint32 in,
                              guint32 room);

/* Index of the first region of an argument and part, or -1. */
gint pincall_find_region(const PinCall *call, guint arg, PinPart part);

/* The header of a message; a HEADER region holds it whole. */
PinMessageHeader pincall_header(const PinRegion *region);

/* Kind of an argument in this call. */
SyscallArg pincall_argument(const PinCall *call, guint arg);

gboolean pincall_kind_is_pointer(SyscallArgKind kind);

/* Whether a call that fails may have written it. */
gboolean pincall_kind_survives_failure(SyscallArgKind kind);

/* A copy without the mirror's addresses. */
PinCall *pincall_copy(const PinCall *call);

/* Whether two calls ask for the same: all that they read is equal, not what they only overwrite. */
gboolean pincall_equal(const PinCall *a, const PinCall *b);

/* Bytes of bits as get_mempolicy counts them. */
guint32 pincall_bits_bytes(guint64 count);

/* Why a call that the row would let through means nothing on the other side: an interval of CPU time, an
 * unlucky signal. NULL: nothing speaks against it. */
const char *pincall_objection(const PinCall *call);

/* Replaces each descriptor in control data by what `translate` returns for it. FALSE: damaged data, or a
 * descriptor for which it returned less than 0. */
typedef gint64 (*PinTranslate)(void *user, gint32 number);
gboolean pincall_translate_control(guint8 *bytes, gsize length, PinTranslate translate, void *user);
