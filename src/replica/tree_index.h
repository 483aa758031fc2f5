/* What the device knows of the clone's copy of its tree: for each path the facts that were last told, for
 * each content its hash and its signature (docs/decisions/0014-generations.md). The clone is never asked.
 *
 * One SQLite database (WAL). It always holds the tree as it was *told*, with steps that may not be durable at
 * the clone's end yet; how to take those back is kept beside it, with their numbers. All changes since the
 * last tree_index_save() are one transaction: what a step changes is to be saved before the step is sent.
 *
 * An error of the database stays with the index: reads find nothing then, changes do nothing, and
 * tree_index_save() tells. */
#pragma once

#include "replica/signature.h"

typedef struct TreeIndex TreeIndex;

/* Nodes that are always there. What is lifted is a child of HOLD (its name is the hold's number), what is
 * removed one of GONE. NONE is no node. */
enum { TREE_NONE = 0, TREE_ROOT = 1, TREE_HOLD = 2, TREE_GONE = 3 };

typedef struct {
  gint64 id, parent;
  char *name;
  ReplicaFacts facts; /* with the device's own: dev, ino, ctime, nlink */
  gboolean hashed;
  guint8 content[GENERATION_CONTENT_HASH]; /* of files, where `hashed` */
  gboolean dirty;                          /* what is there may be newer than was told: look again */
} TreeNode;

void tree_node_clear(TreeNode *node);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TreeNode, tree_node_clear)

/* Opens or makes the database at `path`; one that is damaged, or of another version, is refused with
 * MISMATCH: the caller removes it and asks the clone for its manifest. NULL with that or another error, which
 * says nothing about what is in it: there is no room on the disk, or others have it. */
TreeIndex *tree_index_open(const char *path, GError **error);

/* Opens one that is there for reading only, while others may be changing it: nothing of it is made or
 * changed. NULL with an error: NOT_FOUND where nothing is in it yet. */
TreeIndex *tree_index_look(const char *path, GError **error);
void tree_index_free(TreeIndex *index);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TreeIndex, tree_index_free)

/* Writes all changes down. FALSE with the first error since it was opened. */
gboolean tree_index_save(TreeIndex *index, GError **error);

/* Of whoever uses the index: small things by name. NULL: not there. */
GBytes *tree_index_get(TreeIndex *index, const char *name);
void tree_index_set(TreeIndex *index, const char *name, GBytes *value);

/* For signatures; made with the index. */
const SignatureKey *tree_index_key(const TreeIndex *index);

/* Fills `node` (need not be initialised; empty where the answer is FALSE). */
gboolean tree_index_node(TreeIndex *index, gint64 id, TreeNode *node);
gboolean tree_index_child(TreeIndex *index, gint64 parent, const char *name, TreeNode *node);

/* The children of a directory in the order of their names' bytes: a new array of TreeNode. */
GArray *tree_index_children(TreeIndex *index, gint64 parent);

/* The nodes with this inode: a new array of TreeNode; removed ones are not among them. */
GArray *tree_index_inode(TreeIndex *index, guint64 dev, guint64 ino);

/* The node at a path, or NONE; the path of a node, or NULL where it is removed, or held itself or with what
 * it is in. */
gint64 tree_index_find(TreeIndex *index, const char *path);
gint64 tree_index_find_below(TreeIndex *index, gint64 directory, const char *path);
char *tree_index_path(TreeIndex *index, gint64 id);

/* How many nodes there are in the tree, the root not among them. */
guint64 tree_index_count(TreeIndex *index);

#define TREE_CONTENT_MIN 1024u /* bytes: a smaller content is sent faster than it is found */

/* Whether a file of the tree has this size, and one that has this content, or NONE: of at least
 * TREE_CONTENT_MIN. */
gboolean tree_index_has_size(TreeIndex *index, guint64 size);
gint64 tree_index_content(TreeIndex *index, guint64 size, const guint8 hash[static GENERATION_CONTENT_HASH]);

/* The signature of the content that node `id` has or had; NULL: not known. */
Signature *tree_index_signature(TreeIndex *index, gint64 id,
                                const guint8 hash[static GENERATION_CONTENT_HASH]);
void tree_index_sign(TreeIndex *index, gint64 id, const Signature *signature);
void tree_index_sign_like(TreeIndex *index, gint64 id, gint64 other,
                          const guint8 hash[static GENERATION_CONTENT_HASH]);
void tree_index_unsign(TreeIndex *index, gint64 id);

/* What step `number` changes. `node` is put at its `parent` and `name`: its id is that of the node that is
 * there, or NONE where nothing is. The id is returned. */
gint64 tree_index_put(TreeIndex *index, guint64 number, const TreeNode *node);
void tree_index_move(TreeIndex *index, guint64 number, gint64 id, gint64 parent, const char *name);
void tree_index_remove(TreeIndex *index, guint64 number, gint64 id);

/* What is learnt without a step: who the file is, and when it was last looked at (dev, ino, ctime, nlink,
 * dirty). */
void tree_index_touch(TreeIndex *index, const TreeNode *node);

/* Step `number` did not give node `id` the content that it was to: which one the clone has there is not
 * known, nor under the other names of the inode. No way back leads behind that. */
void tree_index_doubt(TreeIndex *index, guint64 number, gint64 id);

/* A content that was begun: with step `number` its first `position` bytes were told. */
typedef struct {
  char *path;
  guint64 number, position;
  guint64 dev, ino, size;
  gint64 mtime_ns, ctime_ns;
  guint8 sources[GENERATION_CONTENT_HASH]; /* a hash of what it was put together from */
} TreePart;

void tree_part_clear(TreePart *part);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TreePart, tree_part_clear)

void tree_index_put_part(TreeIndex *index, const TreePart *part);
gboolean tree_index_part(TreeIndex *index, TreePart *part); /* the newest */

/* Step `number` was told, and changes nothing here. */
void tree_index_told(TreeIndex *index, guint64 number);

/* The steps up to `number` are durable: there is no way back behind them. */
void tree_index_durable(TreeIndex *index, guint64 number);

/* The steps after `number` never arrived: the index is as it was after that one. FALSE where it cannot be,
 * since durable steps were lost there, or saved ones here: the clone is to be asked for its manifest. */
gboolean tree_index_back_to(TreeIndex *index, guint64 number);

/* The attempt became a generation: all steps are durable, numbers begin anew, and what was removed or still
 * held is forgotten, with the signatures of contents that are no more. */
void tree_index_committed(TreeIndex *index);
