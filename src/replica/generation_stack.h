/* The tree that a stack of layers shows, looked at without mounting it: the rules by which overlayfs merges
 * directories (the kernel's Documentation/filesystems/overlayfs.rst, "Upper and Lower", "whiteouts and opaque
 * directories"), with its marks in user.overlay.* (the mount option userxattr).
 *
 * Of a name the topmost layer's entry is what is there. A character device 0:0 says that nothing is. A
 * directory is merged with the directories of that name below it, down to the first that is opaque or to
 * something that is none. Nothing here follows a symbolic link or leaves the layers, and no path is passed to
 * the kernel whole: names from outside are walked one by one, so that a path may be longer than PATH_MAX.
 *
 * Functions that return an int return 0 or an errno; ENOENT and ENOTDIR say that the tree has no such path.
 */
#pragma once

#include <glib.h>
#include <sys/stat.h>

#define GENERATION_OPAQUE "user.overlay.opaque"

typedef struct {
  GArray *layers; /* of int, top first; directories, owned */
} GenerationStack;

GenerationStack *generation_stack_new(void);
void generation_stack_free(GenerationStack *stack);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GenerationStack, generation_stack_free)

/* Puts `layer` below the others; the descriptor becomes the stack's. */
void generation_stack_add(GenerationStack *stack, int layer);

/* A directory of the tree: what the layers have of it. */
typedef struct {
  guint layer; /* 0 is the top one */
  int fd;      /* O_PATH, owned by the directory */
} GenerationPart;

typedef struct {
  GArray *parts; /* of GenerationPart, top first; NULL: not open */
} GenerationDirectory;

void generation_directory_clear(GenerationDirectory *directory);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(GenerationDirectory, generation_directory_clear)

/* Its part in the top layer, or -1. */
int generation_directory_upper(const GenerationDirectory *directory);

/* The directory that shows its owner, mode and times. */
int generation_directory_top(const GenerationDirectory *directory);

/* Opens the directory at `path` ("": where the layers begin). */
int generation_stack_open(const GenerationStack *stack, const char *path, GenerationDirectory *directory);

/* Opens a directory in one that is open. */
int generation_directory_open(const GenerationDirectory *in, const char *name, GenerationDirectory *child);

/* What one name in a directory is. */
typedef struct {
  struct stat status; /* of what is there; st_mode 0: nothing is */
  int fd;             /* the part of the directory that has it; borrowed */
  guint layer;
  gboolean lower; /* without the top layer something would be there */
} GenerationEntry;

int generation_directory_look(const GenerationDirectory *directory, const char *name, GenerationEntry *entry);

/* Finds `path` (not ""): the directory that holds it, its name there (pointing into `path`), and what it is;
 * ENOENT where nothing is there. */
int generation_stack_find(const GenerationStack *stack, const char *path, GenerationDirectory *directory,
                          const char **name, GenerationEntry *entry);

/* The names in a directory, in the order of their bytes: of char *. With `whiteouts`, also those of which a
 * layer says that nothing is there. */
int generation_directory_list(const GenerationDirectory *directory, gboolean whiteouts, GPtrArray **names);

/* Whether the file of this status is a whiteout, and whether a directory (O_PATH) is opaque. */
gboolean generation_is_whiteout(const struct stat *status);
gboolean generation_is_opaque(int directory);

/* Calls `visit` for everything below the directory at `path`, parents first. `below` is the path from there.
 * Ends with the first errno that `visit` returns. Needs a bounded number of descriptors, however deep. */
typedef int (*GenerationVisit)(const GenerationDirectory *directory, const char *name,
                               const GenerationEntry *entry, const char *below, gpointer user_data);
int generation_stack_visit(const GenerationStack *stack, const char *path, GenerationVisit visit,
                           gpointer user_data);

/* How many nodes are below the directory at `path`. */
int generation_stack_count(const GenerationStack *stack, const char *path, guint64 *nodes);
