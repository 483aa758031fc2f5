/* The inside of paths.h: private to paths*.c. */
#pragma once

#include "augmenter/paths.h"
#include "base/io.h"
#include "replica/delta.h"
#include "replica/fix.h"
#include "replica/pull.h"

#define PATHS_KNOWN_MAX (1u << 20) /* paths that one session may know */

/* How far the clone's copy is known to be what the device has. */
typedef enum {
  FRESH_NOT,
  FRESH_WAY,  /* may be walked through: type, permissions and owner, a link's target */
  FRESH_LOOK, /* all that stat(2) and its kin say */
  FRESH_WHOLE /* a file's content, a directory's names */
} Freshness;

/* ---- paths_known.c: what the device told ---- */

typedef struct {
  ReplicaFacts facts; /* as they can be in the clone: ids that it has not are another's */
  int failure;        /* errno that the device got */
  gboolean odd_owner; /* an id of the owner's has no like in the clone */
  Freshness fresh;    /* once true it stays so: what the block changes then is the truth */
  gboolean listed;    /* a directory: all its names are known */
  char *trouble;      /* why it cannot be made the same */
} KnownPath;

/* One mount point's writable layer. */
typedef struct {
  const SandboxLayer *sandbox;
  guint number;
  ReplicaLayer *replica;
  ReplicaBaseline *baseline;
  ReplicaCopy copy;
  ReplicaDelta *delta; /* sent, not yet committed by the device */
  GHashTable *renamed; /* names (below the mount point) that the block gave by rename(2) */
  GHashTable
      *origins; /* inode in the upper layer to the name below the mount point that it was copied up from */
} PathsLayer;

typedef struct {
  guint32 first, count;
} IdRange;

/* What a file's numbers are to the program. */
typedef struct {
  guint64 dev, ino;
  gboolean unchanged; /* all else that the device told still holds */
} PathsIdentity;

struct Paths {
  Augmenter *augmenter;
  Fd root;               /* of the sandbox */
  GArray *uids, *gids;   /* IdRange: those that exist in the sandbox */
  GPtrArray *layers;     /* PathsLayer, in the order of the sandbox's */
  GHashTable *known;     /* absolute path to KnownPath */
  GHashTable *questions; /* id to PathsQuestion */
  GHashTable *pulls;     /* path to PathsPull */
  GHashTable
      *held_open;     /* paths that the mirror has open or mapped as a block begins: their inodes are kept */
  GHashTable *shared; /* paths that it has mapped to write through, then or at the block's end */
  GHashTable
      *identities; /* inode in an upper layer to PathsIdentity: of what was made, moved or linked here */
  guint64 next_id;
  gboolean worn;     /* see paths_are_worn() */
  gboolean prepared; /* what is mapped and open was found right, and has stayed so */
  gboolean dirty;    /* the block may have changed files */
  gboolean opened;   /* the Augmenter has opened files for writing, for which the overlay makes copies, since
                        the   last capture of changes */
  guint32 uid;       /* of the program */
  GArray *groups;    /* guint32: all of its groups */
  GPtrArray *notes;
};

KnownPath *known_find(const Paths *paths, const char *path);
/* HOSTILE for what makes no sense. `path`: NULL, or the directory that it names an entry of. */
gboolean known_tell(Paths *paths, const char *directory, const Doppel__Engine__Told *told, char **path,
                    GError **error);
/* The device's answer did not say: an errno of ours. */
KnownPath *known_failed(Paths *paths, const char *path, int failure);
void known_free(KnownPath *known);
/* Facts for comparing with, or making, what is at the path here. */
void known_copy_facts(const KnownPath *known, const ReplicaFacts *own, ReplicaFacts *facts);

/* ---- paths_layers.c: where paths are ---- */

gboolean layers_open(Paths *paths, GError **error);
void layer_free(PathsLayer *layer);
PathsLayer *layer_of(const Paths *paths, const char *path, const char **rest);
/* Whether the block changed what is there. */
gboolean layer_touched(const PathsLayer *layer, const char *rest);
/* Whether it made the directory, or put it where it is: what is in it is then the block's alone. */
gboolean layer_made(const PathsLayer *layer, const char *rest);
/* The block is about to change the file there, or to give it another name: copies it up, so that it can be
 * told afterwards. */
void layer_keep_origin(PathsLayer *layer, const char *rest);
/* What the clone shows, as lstat(2). FALSE with errno. */
gboolean layers_look(const Paths *paths, const char *path, struct stat *own);

/* ---- paths_fresh.c: making one path the same ---- */

/* What to ask where something is not known: as much as will be needed, so that one answer does. */
typedef struct {
  const char *path;
  gboolean follow, contents;
} PathsAsk;

/* Verdicts as of paths_judge(). */
PathsVerdict fresh_bring(Paths *paths, const char *path, Freshness need, const PathsAsk *ask, char **reason);

/* ---- paths_questions.c ---- */

/* `path`: what is not known. */
PathsVerdict question_path(Paths *paths, const char *path, const PathsAsk *ask, char **reason);
PathsVerdict question_directory(Paths *paths, const char *path, char **reason);
void question_free(gpointer question);
gboolean questions_answered(Paths *paths, const Doppel__Engine__Paths *answer, GError **error);
gboolean questions_listed(Paths *paths, const Doppel__Engine__Directory *answer, GError **error);

/* ---- paths_listing.c: a directory's names ---- */

/* `names`: a set of what the device has in `path`, all of them known. FALSE with an error naming what cannot
 * be made so. */
gboolean listing_settle(Paths *paths, const char *path, GHashTable *names, GError **error);

/* ---- paths_pulls.c: contents ---- */

PathsVerdict pull_start(Paths *paths, PathsLayer *layer, const char *path, const char *rest, char **reason);
gboolean pulls_take(Paths *paths, const Doppel__Engine__Content *content, GError **error);
void pull_free(gpointer pull);

/* ---- paths_walk.c ---- */

typedef struct {
  char *path;       /* where it led, without links */
  gboolean there;   /* something is there */
  gboolean reached; /* and it is what the path names: no step failed, no slash follows what is no directory */
  struct stat own;  /* what the clone shows there */
  gboolean special; /* below /dev, /proc, /sys: the clone has its own */
  char *forward;    /* FORWARD: the path for the device */
} PathsPlace;
void paths_place_clear(PathsPlace *place);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PathsPlace, paths_place_clear)

/* Looks `path` (absolute, as the process `tid` means it) up in the clone's view, bringing every step as far
 * as it is needed: WAY, and `need` in the end. NATIVE: `place` says where. */
PathsVerdict walk_path(Paths *paths, pid_t tid, const char *path, gboolean follow, Freshness need,
                       PathsPlace *place, char **reason);

/* ---- paths_identity.c ---- */

/* Of what the clone shows at `path` as `own`. FALSE where nobody but the clone knows. */
gboolean identity_of(Paths *paths, const char *path, const struct stat *own, PathsIdentity *identity);
/* What is there keeps it for as long as it lives, whatever its name. */
void identity_keep(Paths *paths, const PathsLayer *layer, const char *rest, const PathsIdentity *identity);
void identity_answer(const PathsIdentity *identity, const KnownPath *known, struct stat *plain);

/* ---- paths_stat.c ---- */

/* For a call of the stat(2) family on `place`: makes it, where the clone would say something else than the
 * device. FALSE where it would not. */
gboolean stat_answer(Paths *paths, pid_t tid, const SyscallRow *row, const guint64 arguments[SYSCALL_ARGS],
                     const PathsPlace *place);

/* The same for a call on descriptor `fd`, which is no pin: DONE; NATIVE where it is as well; WAIT. */
PathsVerdict stat_answer_descriptor(Paths *paths, pid_t tid, const SyscallRow *row,
                                    const guint64 arguments[SYSCALL_ARGS], int fd);

/* ---- paths_special.c ---- */

typedef enum {
  SPECIAL_NOT,
  SPECIAL_WAY,     /* leads on to what may be the clone's or the device's */
  SPECIAL_CLONE,   /* the clone's own, with all below */
  SPECIAL_DEVICE,  /* the device's, with all below */
  SPECIAL_NEITHER, /* what the device does not let its clone use */
  SPECIAL_SELF,    /* the directory of the calling process, or of a thread of its, in /proc */
} SpecialKind;
SpecialKind special_kind(const Paths *paths, const char *path, gboolean last);

/* What is below /proc/self: `rest` starts after that. CLONE; DEVICE, with another path in *forward or NULL;
 * or WAY with the target of a magic link in *target, an absolute path, and in *rest what is left. */
SpecialKind special_self(const Paths *paths, pid_t tid, const char **rest, gboolean follow, char **target,
                         char **forward);

/* ---- paths_program.c: what runs with a program ---- */

/* The interpreter that the file at `path` (of the clone) names, #! or ELF's. NULL: none. */
char *program_interpreter(const Paths *paths, const char *path);
char *program_interpreter_of(int fd);

/* ---- paths_suspects.c ---- */

void suspects_note_layout(Paths *paths, const MirrorLayout *layout);
