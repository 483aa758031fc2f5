/* From rows to entries: which inode is which, and what of it changed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/error.h"
#include "base/io.h"
#include "replica/delta.h"
#include "replica/origin.h"
#include "replica/path.h"
#include "replica/rows.h"

#define ID_BITS                                                                                              \
  06000 /* set-user-id and set-group-id: a write clears them, so they are set again after one                \
         */

typedef struct {
  const ReplicaLayer *layer;
  GPtrArray *rows;
  GHashTable *where;   /* inode before the block to GPtrArray of its rows */
  GHashTable *names;   /* inode to GPtrArray of the rows that show it now, in the upper layer */
  GHashTable *claimed; /* rows whose inode of before has been found again */
  GHashTable *renamed; /* see ReplicaCaptureOptions */
  GHashTable *origins;
  gboolean by_path; /* see there, too */
  GPtrArray *left_out;
  GPtrArray *entries;
  GError **error;
} Capture;

static gboolean
is_plain(const ReplicaFacts *facts)
{
  return facts && (facts->type == REPLICA_FILE || facts->type == REPLICA_FIFO);
}

static void
index_row(GHashTable *index, GBytes *inode, ReplicaRow *row)
{
  GPtrArray *rows = g_hash_table_lookup(index, inode);
  if (!rows) {
    rows = g_ptr_array_new();
    g_hash_table_insert(index, inode, rows);
  }
  g_ptr_array_add(rows, row);
}

static void
index_rows(Capture *capture)
{
  for (guint i = 0; i < capture->rows->len; i++) {
    ReplicaRow *row = capture->rows->pdata[i];
    if (is_plain(row->before.facts) && row->before.inode)
      index_row(capture->where, row->before.inode, row);
    if (is_plain(row->after.facts) && row->after.node && row->after.inode)
      index_row(capture->names, row->after.inode, row);
  }
}

static ReplicaEntry *
add_entry(Capture *capture, ReplicaChange change, ReplicaRow *row, const char *from)
{
  ReplicaEntry *entry = g_new0(ReplicaEntry, 1);
  g_ptr_array_add(capture->entries, entry);
  entry->change = change;
  entry->path = g_strdup(row->path);
  entry->from = g_strdup(from);
  if (row->before.facts)
    replica_facts_copy(&entry->before, row->before.facts);
  if (row->after.facts)
    replica_facts_copy(&entry->after, row->after.facts);
  return entry;
}

/* What the content of `row`'s inode was before the block; opens *fd where that is in the lower layer. */
static ReplicaBasis
basis_of(Capture *capture, const ReplicaRow *row, int *fd)
{
  ReplicaBasis basis = {.fd = -1};
  if (row && row->before.node) {
    basis.blocks = row->before.node->blocks;
  } else if (row && row->before.below) {
    *fd = replica_path_open(capture->layer->lower, row->path, O_RDONLY | O_NONBLOCK);
    basis.fd = *fd;
    basis.size = row->before.facts->size;
  }
  return basis;
}

/* Finds the ranges of an entry's content; `source` is the row of the inode before the block, NULL for a new
 * one. */
static gboolean
compare_content(Capture *capture, ReplicaEntry *entry, ReplicaRow *row, const ReplicaRow *source)
{
  g_auto(Fd) below = -1;
  g_auto(Fd) fd = replica_path_open(capture->layer->upper, row->path, O_RDONLY | O_NONBLOCK);
  ReplicaBasis basis = basis_of(capture, source, &below);
  entry->ranges = g_array_new(FALSE, FALSE, sizeof(ReplicaRange));
  guint64 size;
  ReplicaBlocks *blocks = fd < 0 ? NULL : replica_blocks_read(fd, &basis, entry->ranges, &size);
  if (!blocks)
    return doppel_error_errno(capture->error, "cannot read what the block wrote to %s", row->path);
  g_clear_pointer(&row->after.node->blocks, replica_blocks_unref);
  row->after.node->blocks = blocks;
  if (!source || entry->ranges->len || size != source->before.facts->size)
    entry->set |= REPLICA_FACT_SIZE;
  return TRUE;
}

/* The entry of an inode that was there before, at `source`'s path. */
static gboolean
change_in_place(Capture *capture, ReplicaEntry *entry, ReplicaRow *row, const ReplicaRow *source)
{
  entry->set = replica_facts_differ(source->before.facts, &entry->after, REPLICA_FACT_METADATA);
  if (entry->after.type == REPLICA_FILE && !compare_content(capture, entry, row, source))
    return FALSE;
  if (entry->set & REPLICA_FACT_SIZE) {
    entry->set |= REPLICA_FACT_MTIME;
    if (entry->after.mode & ID_BITS)
      entry->set |= REPLICA_FACT_MODE;
    if (entry->after.xattrs)
      entry->set |= REPLICA_FACT_XATTRS;
  }
  return TRUE;
}

static gboolean
keep(Capture *capture, ReplicaRow *row)
{
  ReplicaEntry *entry = add_entry(capture, REPLICA_KEEP, row, NULL);
  if (!change_in_place(capture, entry, row, row))
    return FALSE;
  if (!entry->set)
    g_ptr_array_set_size(capture->entries, capture->entries->len - 1);
  return TRUE;
}

static gboolean
refuse_links(Capture *capture, const ReplicaRow *row)
{
  return doppel_error_set(
      capture->error, DOPPEL_ERROR_UNSUPPORTED,
      "the block changed %s, which has %u hard links: only the device can do that to all of them", row->path,
      row->before.facts->nlink);
}

/* A copied-up file of several hard links carries no origin, so it may be the old inode or a new one, and its
 * other names still show the old content to the block. Only where nothing changed does it not matter. */
static gboolean
settle_ambiguous(Capture *capture, ReplicaRow *row)
{
  guint entries = capture->entries->len;
  if (!keep(capture, row))
    return FALSE;
  return capture->entries->len == entries || refuse_links(capture, row);
}

/* Whether a name of a file with several hard links below is gone. */
static gboolean
lost_link(const ReplicaRow *row)
{
  return row->before.below && row->before.facts->type == REPLICA_FILE && row->before.facts->nlink > 1 &&
         !row->after.below;
}

/* Such a file may have been renamed, and then it looks like a new one. */
static gboolean
check_lost_links(Capture *capture)
{
  const ReplicaRow *lost = NULL;
  gboolean made = FALSE;
  for (guint i = 0; i < capture->rows->len; i++) {
    const ReplicaRow *row = capture->rows->pdata[i];
    if (lost_link(row) && !(row->after.facts && row->after.facts->type == REPLICA_FILE))
      lost = row;
  }
  for (guint i = 0; lost && i < capture->entries->len; i++) {
    const ReplicaEntry *entry = capture->entries->pdata[i];
    made |= entry->change == REPLICA_MAKE && entry->after.type == REPLICA_FILE;
  }
  return !made || capture->by_path || refuse_links(capture, lost);
}

/* A socket or a device node: the device keeps what it has there. */
static gboolean
cannot_travel(Capture *capture, ReplicaRow *row)
{
  if (!capture->by_path)
    return doppel_error_set(
        capture->error, DOPPEL_ERROR_UNSUPPORTED,
        "the block made %s, a socket or device node, which only the device itself can make", row->path);
  if (capture->left_out)
    g_ptr_array_add(capture->left_out, g_strdup(row->path));
  return TRUE;
}

static gboolean
make(Capture *capture, ReplicaRow *row)
{
  const ReplicaFacts *before = row->before.facts;
  ReplicaNode *node = row->after.node;
  if (!capture->by_path && row->before.below && before->type == REPLICA_FILE && before->nlink > 1 &&
      is_plain(row->after.facts) && node->mark.facts.type == REPLICA_FILE && !node->mark.origin)
    return settle_ambiguous(capture, row);
  if (row->after.facts->type > REPLICA_FIFO)
    return cannot_travel(capture, row);
  ReplicaEntry *entry = add_entry(capture, REPLICA_MAKE, row, NULL);
  entry->set = REPLICA_FACT_METADATA;
  return entry->after.type != REPLICA_FILE || compare_content(capture, entry, row, NULL);
}

static gboolean
move(Capture *capture, ReplicaRow *row, ReplicaRow *source)
{
  g_hash_table_add(capture->claimed, source);
  ReplicaEntry *entry = add_entry(capture, REPLICA_MOVE, row, source->path);
  replica_facts_copy(&entry->source, source->before.facts);
  return change_in_place(capture, entry, row, source);
}

/* The row at which the caller knows the inode to have been; NULL where it does not. */
static const ReplicaRow *
told_origin(const Capture *capture, GBytes *inode)
{
  const char *path = capture->origins ? g_hash_table_lookup(capture->origins, inode) : NULL;
  guint low = 0, high = path ? capture->rows->len : 0;
  while (low < high) {
    guint middle = (low + high) / 2;
    const ReplicaRow *row = capture->rows->pdata[middle];
    int order = strcmp(path, row->path);
    if (order == 0)
      return row->before.below && is_plain(row->before.facts) ? row : NULL;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return NULL;
}

/* Of the names of an inode the one at which a file of one name was, which it can be taken for. */
static const ReplicaRow *
row_of_one_name(const GPtrArray *rows)
{
  for (guint i = 0; i < rows->len; i++) {
    const ReplicaRow *row = rows->pdata[i];
    if (row->before.below && row->before.inode && row->before.facts->type == row->after.facts->type &&
        row->before.facts->nlink == 1)
      return row;
  }
  return NULL;
}

/* Finds the rows at which the inode that `rows` show now was before the block; NULL for a new inode. */
static gboolean
find_origin(Capture *capture, GPtrArray *rows, GPtrArray **found)
{
  const ReplicaRow *first = rows->pdata[0];
  GBytes *origin = first->after.node->mark.origin;
  *found = g_hash_table_lookup(capture->where, first->after.inode);
  if (*found || !origin || g_bytes_get_size(origin) > 0)
    return TRUE;
  if (capture->by_path) {
    const ReplicaRow *own = row_of_one_name(rows);
    *found = own ? g_hash_table_lookup(capture->where, own->before.inode) : NULL;
    return TRUE;
  }
  const ReplicaRow *row = told_origin(capture, first->after.node->mark.inode);
  if (!row)
    row = replica_origin_guess(capture->rows, rows, capture->claimed, capture->renamed);
  if (row && row->before.inode)
    *found = g_hash_table_lookup(capture->where, row->before.inode);
  return *found ||
         doppel_error_set(capture->error, DOPPEL_ERROR_UNSUPPORTED,
                          "the block changed %s and removed or renamed others, and this overlay, mounted "
                          "without privileges, cannot tell which it was before",
                          first->path);
}

static gboolean
contains(GPtrArray *rows, const ReplicaRow *row)
{
  return rows && g_ptr_array_find(rows, row, NULL);
}

static ReplicaRow *
first_in(GPtrArray *rows, GPtrArray *wanted)
{
  for (guint i = 0; i < rows->len; i++)
    if (contains(wanted, rows->pdata[i]))
      return rows->pdata[i];
  return NULL;
}

static ReplicaRow *
first_unclaimed(Capture *capture, GPtrArray *origins, const ReplicaFacts *now)
{
  for (guint i = 0; origins && i < origins->len; i++) {
    ReplicaRow *row = origins->pdata[i];
    if (!g_hash_table_contains(capture->claimed, row) && row->before.facts->type == now->type)
      return row;
  }
  return NULL;
}

/* All the names of one inode of the upper layer: one of them carries its change, the others are links to
 * that. */
static gboolean
settle_inode(Capture *capture, GPtrArray *rows)
{
  GPtrArray *origins;
  if (!find_origin(capture, rows, &origins))
    return FALSE;
  ReplicaRow *main = first_in(rows, origins);
  ReplicaRow *source = NULL;
  gboolean good;
  if (main) {
    g_hash_table_add(capture->claimed, main);
    good = keep(capture, main);
  } else {
    main = rows->pdata[0];
    source = first_unclaimed(capture, origins, main->after.facts);
    good = source ? move(capture, main, source) : make(capture, main);
  }
  for (guint i = 0; good && i < rows->len; i++) {
    ReplicaRow *row = rows->pdata[i];
    if (row == main)
      continue;
    if (main->after.node->blocks && row->after.node != main->after.node) {
      g_clear_pointer(&row->after.node->blocks, replica_blocks_unref);
      row->after.node->blocks = replica_blocks_ref(main->after.node->blocks);
    }
    if (source || !contains(origins, row))
      add_entry(capture, REPLICA_LINK, row, main->path);
  }
  return good;
}

static gboolean
settle_other(Capture *capture, ReplicaRow *row)
{
  const ReplicaFacts *before = row->before.facts, *after = row->after.facts;
  const guint identity = REPLICA_FACT_TYPE | REPLICA_FACT_TARGET | REPLICA_FACT_RDEV;
  if (!before || !replica_facts_equal(before, after, identity))
    return make(capture, row);
  return keep(capture, row);
}

static gboolean
settle_row(Capture *capture, ReplicaRow *row)
{
  const ReplicaFacts *after = row->after.facts;
  if (!after) {
    if (row->before.facts && !g_hash_table_contains(capture->claimed, row))
      add_entry(capture, REPLICA_REMOVE, row, NULL);
    return TRUE;
  }
  if (row->after.below)
    return row->before.below || doppel_error_set(capture->error, DOPPEL_ERROR_MISMATCH,
                                                 "the session's upper layer has lost %s", row->path);
  gboolean fifo = after->type == REPLICA_FIFO && row->before.facts && row->before.facts->type == REPLICA_FIFO;
  if (is_plain(after) && row->after.inode && !fifo) { /* a FIFO may carry no mark, and one is like another */
    GPtrArray *rows = g_hash_table_lookup(capture->names, row->after.inode);
    return rows->pdata[0] != row || settle_inode(capture, rows);
  }
  return settle_other(capture, row);
}

static int
compare_paths(gconstpointer a, gconstpointer b)
{
  return strcmp((*(const ReplicaEntry *const *)a)->path, (*(const ReplicaEntry *const *)b)->path);
}

/* Inodes that are still there are settled first: only then is it known which removed paths a MOVE has
 * claimed. */
static gboolean
settle_rows(Capture *capture)
{
  for (guint i = 0; i < capture->rows->len; i++) {
    ReplicaRow *row = capture->rows->pdata[i];
    if (row->after.facts && !settle_row(capture, row))
      return FALSE;
  }
  for (guint i = 0; i < capture->rows->len; i++) {
    ReplicaRow *row = capture->rows->pdata[i];
    if (!row->after.facts && !settle_row(capture, row))
      return FALSE;
  }
  g_ptr_array_sort(capture->entries, compare_paths);
  return check_lost_links(capture);
}

ReplicaDelta *
replica_capture(const ReplicaLayer *layer, const ReplicaBaseline *baseline,
                const ReplicaCaptureOptions *options, GError **error)
{
  g_autoptr(ReplicaDelta) delta = g_new0(ReplicaDelta, 1);
  delta->entries = g_ptr_array_new_with_free_func((GDestroyNotify)replica_entry_free);
  delta->after = replica_picture_read(layer, baseline->root, options ? options->suspects : NULL, error);
  g_autoptr(GPtrArray) rows =
      delta->after ? replica_rows_read(layer, baseline->root, delta->after, error) : NULL;
  if (!rows)
    return NULL;
  Capture capture = {.layer = layer, .rows = rows, .entries = delta->entries, .error = error};
  capture.renamed = options ? options->renamed : NULL;
  capture.origins = options ? options->origins : NULL;
  capture.by_path = options && options->by_path;
  capture.left_out = options ? options->left_out : NULL;
  capture.where = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, NULL, (GDestroyNotify)g_ptr_array_unref);
  capture.names = g_hash_table_new_full(g_bytes_hash, g_bytes_equal, NULL, (GDestroyNotify)g_ptr_array_unref);
  capture.claimed = g_hash_table_new(NULL, NULL);
  index_rows(&capture);
  gboolean good = settle_rows(&capture);
  g_hash_table_unref(capture.where);
  g_hash_table_unref(capture.names);
  g_hash_table_unref(capture.claimed);
  return good ? g_steal_pointer(&delta) : NULL;
}
