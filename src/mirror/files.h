/* A process's open descriptors, and how a twin gets the same ones. A descriptor is either a file of the
 * replica, opened by name on each side, or a pin: a thing of the device, held in the mirror by a placeholder.
 * A pin's id is the number that the descriptor has in the primary now; it is good for one block. Source:
 * proc(5), "fd" and "fdinfo". */
#pragma once

#include "mirror/process.h"

typedef enum {
  MIRROR_FILE_REPLICA, /* a regular file or directory with a name */
  MIRROR_FILE_PIN,
  MIRROR_FILE_SIGNALS, /* a signalfd: each side has its own, since signals go where the program is; `offset`
                          is its mask */
  MIRROR_FILE_LOCAL, /* made in the mirror by a block (pipe, memfd, file without a name): goes home with what
                        it holds */
} MirrorFileKind;

typedef struct {
  int number;
  MirrorFileKind kind;
  gboolean close_on_exec;
  int shares;     /* number of a lower descriptor with the same open file description, or -1 */
  guint32 flags;  /* O_* as of F_GETFL */
  guint64 offset; /* REPLICA: bytes */
  gint32 pin;     /* PIN */
  char *path;     /* REPLICA: absolute; LOCAL: what procfs calls it */
  char *name;     /* PIN, read from the primary: what procfs calls it, */
  guint32 device_mode, device_flags; /* its type and mode, and O_* */
  GBytes
      *content; /* LOCAL, once mirror_files_fetch() has read it: what waits in the pipe, or is in the file */
} MirrorFile;

typedef GPtrArray MirrorFiles; /* MirrorFile, by number */
MirrorFiles *mirror_files_new(void);

#define MIRROR_PIN_NAME "doppel-pin:" /* of a placeholder memfd, the id follows */

/* The primary's: `inherited` tells whether a descriptor came with the program and may be shared with others,
 * which makes it a pin. */
typedef gboolean (*MirrorFileInherited)(int number, void *user);
MirrorFiles *mirror_files_read_primary(MirrorProcess *process, MirrorFileInherited inherited, void *user,
                                       GError **error);
/* The mirror's. */
MirrorFiles *mirror_files_read_mirror(MirrorProcess *process, GError **error);
/* What descriptor `number` of process `pid` (any that the procfs `proc_fd` shows) stands for: pin id, or -1
 * when it is no placeholder. */
gint32 mirror_files_pin_of(int proc_fd, pid_t pid, int number);

/* Reads what the LOCAL ones hold, out of the mirror's. UNSUPPORTED, with its name, for one that cannot be
 * carried. */
gboolean mirror_files_fetch(MirrorProcess *process, MirrorFiles *files, GError **error);

void mirror_files_pack(const MirrorFiles *files, GByteArray *into);
MirrorFiles *mirror_files_unpack(const guint8 *bytes, gsize length, GError **error); /* hostile */

/* Gives the mirror these descriptors; what it has beyond them is closed. Descriptors that are right already
 * are left alone. */
gboolean mirror_files_apply_mirror(MirrorProcess *process, const MirrorFiles *files, GError **error);
/* Gives the primary these descriptors: pins keep what they are, under new numbers. All or nothing as far as
 * opening goes. */
gboolean mirror_files_apply_primary(MirrorProcess *process, const MirrorFiles *files, GError **error);

/* objects.c: makes a LOCAL descriptor's like in the primary. A pipe's other end is made with it: *other is to
 * be placed too or closed; -1: none. */
gboolean mirror_object_make(MirrorProcess *process, const MirrorFile *file, gint64 *made, gint64 *other,
                            GError **error);
gboolean mirror_object_is_pipe(const MirrorFile *file);
