/* A process's mappings as a list, in a canonical form in which both twins can be compared: neighbours that
 * are alike are one, and what each kernel puts there for itself (vdso, vvar, vsyscall) and the engine's
 * scratch are left out. Source: proc_pid_maps(5). */
#pragma once

#include <glib.h>

#include "mirror/process.h"

typedef enum {
  MIRROR_MAP_ANONYMOUS, /* private memory, heap included */
  MIRROR_MAP_STACK,     /* the leader's, which grows down */
  MIRROR_MAP_FILE,      /* private or read-only shared, of a file that has a name */
  MIRROR_MAP_DETACHED,  /* private, of something without a name in the replica: only among areas; elsewhere it
                           is plain memory */
  MIRROR_MAP_SHARED,    /* shared anonymous memory */
  MIRROR_MAP_SHARED_FILE, /* writable shared, of a file that has a name */
  MIRROR_MAP_FOREIGN,     /* shared with others or with a device: cannot be mirrored */
} MirrorMapKind;

typedef struct {
  guint64 start, end;
  guint64 offset; /* in the file, bytes */
  guint32 prot;   /* PROT_* */
  MirrorMapKind kind;
  const char *path; /* interned: may be compared as a pointer; NULL where there is none */
} MirrorMapping;

typedef struct {
  GArray *mappings; /* MirrorMapping, by address */
  GArray
      *areas; /* MirrorMapping: as the kernel has them (one VMA each), not joined; empty for a parsed text */
  guint64 vdso, vdso_end; /* 0: none */
  guint64 bytes;          /* of all that is mapped, ours too */
  GByteArray *text;       /* as the kernel gave it, with a NUL; NULL for a parsed one */
  GBytes *packed;         /* once it was asked for */
} MirrorLayout;

MirrorLayout *mirror_layout_new(void);
void mirror_layout_free(MirrorLayout *layout);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MirrorLayout, mirror_layout_free)

/* Reads /proc/PID/maps. */
MirrorLayout *mirror_layout_read(MirrorProcess *process, GError **error);
/* Reads it again, into *layout (which may be NULL): the same object where nothing is otherwise. */
gboolean mirror_layout_renew(MirrorProcess *process, MirrorLayout **layout, GError **error);
/* Of a process that has made no system call since `layout` was read: whether it holds still. Its stack may
 * have grown, and so its size. */
gboolean mirror_layout_holds(MirrorProcess *process, const MirrorLayout *layout);

const MirrorMapping *mirror_layout_find(const MirrorLayout *layout, guint64 address);
gboolean mirror_mapping_alike(const MirrorMapping *a, const MirrorMapping *b); /* all but where they are */

/* What has to happen so that `from` becomes `to`, as steps in order. */
typedef enum {
  MIRROR_STEP_UNMAP,
  MIRROR_STEP_MAP,
  MIRROR_STEP_PROTECT,
  MIRROR_STEP_GROW_STACK
} MirrorStepKind;
typedef struct {
  MirrorStepKind kind;
  MirrorMapping mapping; /* UNMAP: only the range counts */
} MirrorStep;
GArray *mirror_layout_steps(const MirrorLayout *from, const MirrorLayout *to);

/* As text, one line per mapping; unpacking treats it as hostile. */
GBytes *mirror_layout_pack(MirrorLayout *layout); /* the layout's */
MirrorLayout *mirror_layout_unpack(const guint8 *bytes, gsize length, GError **error);
