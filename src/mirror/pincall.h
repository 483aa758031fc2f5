/* One system call on a pin, on its way from the mirror to the primary and its result on the way back
 * (CloneCloud section 3.3; docs/architecture.md "Pins").
 *
 *   clone:   pincall_gather() → pincall_pack() ............ pinresult_unpack() → pincall_scatter()
 *   device:  pincall_unpack() → pincall_permitted() → pincall_place() → execute → pincall_collect() →
 * pinresult_pack()
 *
 * A call carries no address: a pointer is 1 or NULL, and what lies behind it is a list of regions, in an
 * order that the table of system calls prescribes (pincall_check()). Descriptors travel as pin numbers, also
 * those in poll's and select's sets and in SCM_RIGHTS messages. */
#pragma once

#include <glib.h>

#include "mirror/syscalls.h"

#define PINCALL_BYTES_MAX   (1u << 20) /* bytes of payload each way; longer reads and writes are shortened */
#define PINCALL_REGIONS_MAX 4096u
#define PINCALL_PACKED_MAX  (PINCALL_BYTES_MAX + (256u << 10)) /* bytes of a packed call or result */
#define PINCALL_SCRATCH                                                                                      \
  (PINCALL_BYTES_MAX + (512u << 10)) /* bytes of scratch memory that are enough for any call */

/* What the callbacks of descriptors return for one that is no pin. */
#define PIN_NONE    (-1)
#define PIN_IGNORED (-2) /* of a set (poll, select): leave it out, the caller sees to it itself */

/* A process's memory: whole or not at all. */
typedef struct {
  gboolean (*read)(void *user, guint64 address, void *to, gsize length);
  gboolean (*write)(void *user, guint64 address, const void *from, gsize length);
  void *user;
} MirrorMemoryOps;

/* From descriptor to pin number (0 to 2^31 - 1), PIN_NONE or PIN_IGNORED. On the device it also registers
 * descriptors that a call has made. */
typedef gint64 (*PinOfFd)(void *user, int fd);

/* From pin number to descriptor, or -1. In the clone it makes a placeholder for a pin that is new. */
typedef int (*PinToFd)(void *user, guint32 pin);

typedef enum {
  PIN_PART_WHOLE,   /* all that the argument points to */
  PIN_PART_LENGTH,  /* the 32 bits that measure a value-result argument */
  PIN_PART_SEGMENT, /* one piece of an iovec */
  PIN_PART_HEADER,  /* PinMessageHeader */
  PIN_PART_NAME,    /* a message's address */
  PIN_PART_CONTROL, /* a message's control data, descriptors as pins */
  PIN_PARTS,
} PinPart;

typedef struct {
  guint8 arg;
  guint8 part;     /* PinPart */
  guint16 message; /* of sendmmsg and recvmmsg: which */
  guint32 in;      /* bytes that the call reads */
  guint32 room;    /* bytes that the call may write */
  guint8 *bytes;   /* the `in` bytes, owned */
  guint64 address; /* in the mirror; 0 in an unpacked call */
} PinRegion;

/* How a message's header travels. */
typedef struct {
  guint32 present;                     /* PIN_MESSAGE_* bits, of a call */
  guint32 segments;                    /* of a call */
  guint32 name, control, flags, bytes; /* of a result: msg_namelen, msg_controllen, msg_flags, msg_len */
} PinMessageHeader;
#define PIN_MESSAGE_NAME    1u
#define PIN_MESSAGE_CONTROL 2u

/* One entry of a select set as it travels. Of a result: the entries that are ready. */
typedef struct {
  gint32 fd; /* in the mirror */
  guint32 pin;
} PinSetEntry;

typedef struct {
  const SyscallRow *row;
  guint64 args[SYSCALL_ARGS]; /* numbers; pins (or -1, AT_FDCWD as given); 1 or 0 for pointers */
  GArray *regions;            /* PinRegion */
  guint64 asked;              /* bytes of payload that the program asked for, of a SHORT row; else 0 */
} PinCall;

PinCall *pincall_new(const SyscallRow *row);
void pincall_free(PinCall *call);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PinCall, pincall_free)

static inline PinRegion *
pincall_region(const PinCall *call, guint index)
{
  return &g_array_index(call->regions, PinRegion, index);
}

/* Reads the arguments of a call from the process that makes it. `skip` bytes of the payload of a write have
 * been done already (0 at first): so a long one goes in several calls. UNSUPPORTED, with the reason, for what
 * cannot be forwarded (memory that cannot be read, a descriptor that is no pin, a request that holds
 * pointers, …): the block is cut there and the device makes the call itself. */
PinCall *pincall_gather(const SyscallRow *row, const guint64 args[SYSCALL_ARGS],
                        const MirrorMemoryOps *memory, PinOfFd pin_of_fd, void *fd_user, guint64 skip,
                        GError **error);

/* Replaces path `index` (0 or 1) by an absolute one that the caller has resolved. */
void pincall_set_path(PinCall *call, guint index, const char *path);

/* Whether the regions are those that the row prescribes and all sizes within bounds. HOSTILE otherwise. */
gboolean pincall_check(const PinCall *call, GError **error);

/* What a device executes for its clone. A clone can do much through the state that it hands back; what it
 * must not do is act on the device *during* a block beyond what the program could mean, because that can no
 * longer be thrown away: touch the primary's memory (no address travels), use a descriptor that is no pin,
 * name files (only devices, and only to look at or to open), type in the user's name, or signal everything at
 * once. DENIED with the reason. */
typedef struct {
  const char *const *path_prefixes; /* NULL-terminated; each ends in '/'. NULL: /dev/ and /sys/ */
} PinPolicy;
gboolean pincall_permitted(const PinCall *call, const PinPolicy *policy, GError **error);

/* For the link. Unpacking checks everything (pincall_check()); HOSTILE. */
GByteArray *pincall_pack(const PinCall *call);
PinCall *pincall_unpack(const guint8 *bytes, gsize length, GError **error);

/* Where a call lies in scratch memory. */
typedef struct {
  guint64 args[SYSCALL_ARGS]; /* for the registers */
  GByteArray *image;          /* to be written at the scratch address before the call */
  GArray *addresses; /* guint64: of each region; of a message's HEADER: its struct msghdr or mmsghdr */
  gsize used;        /* bytes of scratch, the image and the room behind it */
  GArray *set_fds;   /* gint: the descriptors of all entries of select's sets, in the order of the regions */
  guint set_size;    /* select's first argument */
} PinPlacement;
void pinplacement_free(PinPlacement *placement);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PinPlacement, pinplacement_free)

/* Lays a call out that pincall_check() has found right. DENIED for a pin that does not exist, and where
 * scratch is too small. */
PinPlacement *pincall_place(const PinCall *call, guint64 scratch_address, gsize scratch_size,
                            PinToFd fd_of_pin, void *fd_user, GError **error);

typedef struct {
  guint region;
  guint8 *bytes; /* owned */
  gsize length;
} PinBlob;

typedef struct {
  gint64 value;  /* as the call returned it, or -errno; of a RETURNS_FD row: a pin */
  GArray *blobs; /* PinBlob, ascending by region */
} PinResult;
PinResult *pinresult_new(gint64 value);
void pinresult_free(PinResult *result);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PinResult, pinresult_free)

/* Takes a copy of `bytes`. Regions are to be added in ascending order. */
void pinresult_add(PinResult *result, guint region, const void *bytes, gsize length);

/* Takes the result of an executed call out of the scratch memory; only what the call wrote is read.
 * Descriptors that the call made become pins through `pin_of_fd`. FAILED where the memory cannot be read. */
PinResult *pincall_collect(const PinCall *call, const PinPlacement *placement, gint64 value,
                           const MirrorMemoryOps *memory, PinOfFd pin_of_fd, void *fd_user, GError **error);

/* Whether a result is one that this call can have. HOSTILE otherwise. */
gboolean pinresult_check(const PinCall *call, const PinResult *result, GError **error);

GByteArray *pinresult_pack(const PinResult *result);
PinResult *pinresult_unpack(const PinCall *call, const guint8 *bytes, gsize length, GError **error);

/* Writes a result into the memory of the process that made the call; `call` is the one that was gathered
 * there. `value` becomes what the call returns, a new pin as the descriptor that `fd_of_pin` gave for it.
 * FAILED where the memory cannot be written. */
gboolean pincall_scatter(const PinCall *call, const PinResult *result, const MirrorMemoryOps *memory,
                         PinToFd fd_of_pin, void *fd_user, gint64 *value, GError **error);

/* Whether the row appends bytes to a stream: the Augmenter may keep them and answer at once. */
gboolean pincall_is_stream_output(const SyscallRow *row);

/* The same of one call: without address, control data or flags that make it more than bytes. */
gboolean pincall_may_be_buffered(const PinCall *call);

/* Whether the row takes bytes from a stream, which a re-run must be given again. */
gboolean pincall_is_stream_input(const SyscallRow *row);

/* The bytes of payload that the call carries out, or the room that it has for payload, without messages'
 * headers. */
gsize pincall_payload(const PinCall *call);
