#include "clonedoc/device/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "base/error.h"
#include "clonedoc/device/copies_struct.h"
#include "clonedoc/merge.h"
#include "clonedoc/pair.h"

#define CHANGES_MAX (256u << 10) /* bytes of changes beside a text, before it is written anew */
#define NEVER       (-1)

struct DocCopy {
  DocCopies *copies;
  DocName document;
  gint64 id;
  OtText *text;
  gint64 number; /* of the last change that is in `text`; NEVER: it is not what is on the disk */
  gboolean filled, begun;
  guint8 copy[DOC_COPY_LENGTH];
  Fd lock;       /* the keeper's */
  DocPair *pair; /* the keeper's */
  gint64 paired; /* up to which change `pair` has what was edited here */
};

static gboolean
damaged(DocCopy *copy, GError **error)
{
  return doppel_error_set(
      error, DOPPEL_ERROR_FAILED,
      "this device's documents in %s are damaged: move that folder away, and they come again "
      "from the clone",
      copy->copies->folder);
}

DocCopy *
doc_copy_open(DocCopies *copies, const DocName *document, GError **error)
{
  g_autoptr(DocCopy) copy = g_new0(DocCopy, 1);
  *copy =
      (DocCopy){.copies = copies, .document = *document, .text = ot_text_new(), .number = NEVER, .lock = -1};
  return doc_copy_refresh(copy, NULL, error) ? g_steal_pointer(&copy) : NULL;
}

void
doc_copy_free(DocCopy *copy)
{
  if (!copy)
    return;
  doc_copy_let_go(copy);
  ot_text_free(copy->text);
  g_free(copy);
}

const OtText *
doc_copy_text(const DocCopy *copy)
{
  return copy->text;
}

const DocName *
doc_copy_name(const DocCopy *copy)
{
  return &copy->document;
}

void
doc_copy_id(const DocCopy *copy, guint8 id[DOC_COPY_LENGTH], gboolean *begun)
{
  memcpy(id, copy->copy, DOC_COPY_LENGTH);
  *begun = copy->begun;
}

gboolean
doc_copy_is_filled(const DocCopy *copy)
{
  return copy->filled;
}

gboolean
doc_copy_set_filled(DocCopy *copy, GError **error)
{
  if (copy->filled)
    return TRUE;
  copy->filled = database_statements_run(copy->copies->statements, error,
                                         "UPDATE document SET kept = 1 WHERE id = ?", "i", copy->id);
  return copy->filled;
}

/* ---- reading ---- */

/* The text as it was written last. */
static gboolean
read_text(DocCopy *copy, gint64 at, GError **error)
{
  g_autoptr(DatabaseUse) row = database_statements_use(
      copy->copies->statements, error, "SELECT text FROM document WHERE id = ?", "i", copy->id);
  if (!row || database_step(row, error) < 1)
    return error && *error ? FALSE : damaged(copy, error);
  const char *utf8 = sqlite3_column_blob(row, 0);
  gsize bytes = sqlite3_column_bytes(row, 0), scalars = 0;
  if (!ot_utf8_check(utf8 ? utf8 : "", bytes, &scalars))
    return damaged(copy, error);
  ot_text_free(copy->text);
  copy->text = ot_text_new();
  if (bytes > 0)
    ot_text_insert(copy->text, 0, utf8, bytes, scalars);
  copy->number = at;
  return TRUE;
}

/* The changes after `from` up to `to` as one, for a text of that time. */
static OtOp *
read_changes(DocCopy *copy, gint64 from, gint64 to, GError **error)
{
  g_autoptr(OtOp) all = ot_op_new();
  g_autoptr(DatabaseUse) rows = database_statements_use(
      copy->copies->statements, error,
      "SELECT op FROM change WHERE document = ? AND number > ? AND number <= ? ORDER BY number", "iii",
      copy->id, from, to);
  gint64 count = 0;
  int step = -1;
  while (rows && (step = database_step(rows, error)) > 0) {
    g_autoptr(OtOp) op = ot_op_unpack(sqlite3_column_blob(rows, 0), sqlite3_column_bytes(rows, 0), NULL);
    if (!op)
      break;
    OtOp *both = ot_op_compose(all, op);
    ot_op_free(all);
    all = both;
    count++;
  }
  if (step < 0)
    return NULL;
  if (step == 0 && count == to - from)
    return g_steal_pointer(&all);
  damaged(copy, error);
  return NULL;
}

static OtOp *
difference(const OtText *from, const OtText *to, GError **error)
{
  gsize from_bytes, to_bytes;
  g_autofree char *before = ot_text_copy(from, 0, ot_text_length(from), &from_bytes);
  g_autofree char *after = ot_text_copy(to, 0, ot_text_length(to), &to_bytes);
  return doc_merge_difference(before, from_bytes, after, to_bytes, error);
}

static gboolean
apply(DocCopy *copy, const OtOp *op, GError **error)
{
  return ot_op_apply(op, copy->text, NULL) || damaged(copy, error);
}

/* In a transaction. `*shown` is always set. */
static gboolean
refresh(DocCopy *copy, OtOp **shown, GError **error)
{
  gint64 at, last;
  *shown = NULL;
  {
    g_autoptr(DatabaseUse) row =
        database_statements_use(copy->copies->statements, error,
                                "SELECT id, at, last, kept, begun, copy FROM document WHERE name = ?", "b",
                                copy->document.bytes, sizeof copy->document.bytes);
    int step = row ? database_step(row, error) : -1;
    if (step == 0)
      doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND, "this device knows no such document (any more)");
    if (step < 1)
      return FALSE;
    copy->id = sqlite3_column_int64(row, 0);
    at = sqlite3_column_int64(row, 1);
    last = sqlite3_column_int64(row, 2);
    copy->filled = sqlite3_column_int64(row, 3);
    copy->begun = sqlite3_column_int64(row, 4);
    if (!database_blob(row, 5, copy->copy, sizeof copy->copy))
      return damaged(copy, error);
  }
  if (copy->number == last)
    return TRUE;
  g_autoptr(OtText) before = NULL;
  if (copy->number < at) {
    before = g_steal_pointer(&copy->text);
    copy->text = ot_text_new();
    if (!read_text(copy, at, error))
      return FALSE;
  }
  g_autoptr(OtOp) op = read_changes(copy, copy->number, last, error);
  if (!op || !apply(copy, op, error))
    return FALSE;
  copy->number = last;
  *shown = before ? difference(before, copy->text, error) : g_steal_pointer(&op);
  return *shown != NULL;
}

gboolean
doc_copy_refresh(DocCopy *copy, OtOp **shown, GError **error)
{
  g_autoptr(OtOp) op = NULL;
  if (!database_run(copy->copies->db, error, "BEGIN", ""))
    return FALSE;
  gboolean good = refresh(copy, &op, error);
  if (!doc_copies_end(copy->copies, good, error))
    return FALSE;
  if (shown)
    *shown = op && !ot_op_empty(op) ? g_steal_pointer(&op) : NULL;
  return TRUE;
}

/* ---- changing ---- */

/* In a transaction: does `op` to the text and writes it down. What others had done before may leave nothing
 * of it. */
static gboolean
change(DocCopy *copy, const OtOp *op, GError **error)
{
  if (ot_op_empty(op))
    return TRUE;
  g_autoptr(GByteArray) packed = g_byte_array_new();
  ot_op_pack(op, packed);
  if (!ot_op_apply(op, copy->text, error))
    return FALSE;
  copy->number++;
  return database_statements_run(copy->copies->statements, error, "INSERT INTO change VALUES(?, ?, ?)", "iib",
                                 copy->id, copy->number, packed->data, (gsize)packed->len) &&
         database_statements_run(copy->copies->statements, error, "UPDATE document SET last = ? WHERE id = ?",
                                 "ii", copy->number, copy->id);
}

/* The end of a transaction that changes: what is in memory is what is on the disk, or is read again. */
static gboolean
end(DocCopy *copy, gboolean good, GError **error)
{
  good = doc_copies_end(copy->copies, good, error);
  if (!good)
    copy->number = NEVER;
  return good;
}

static gboolean
edit(DocCopy *copy, const OtOp *op, OtOp **meanwhile, GError **error)
{
  g_autoptr(OtOp) others = NULL;
  g_autoptr(OtOp) own = NULL;
  if (ot_op_reach(op) > ot_text_length(copy->text))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the edit does not fit the document");
  if (!refresh(copy, &others, error))
    return FALSE;
  if (others)
    ot_op_transform(others, op, meanwhile, &own);
  gsize length = ot_text_length(copy->text) + ot_op_inserted(op);
  if (length > DOC_PAIR_LENGTH_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "a document may have %" G_GUINT64_FORMAT " million characters",
                            DOC_PAIR_LENGTH_MAX / 1000000);
  return change(copy, own ? own : op, error);
}

gboolean
doc_copy_edit(DocCopy *copy, const OtOp *op, OtOp **meanwhile, GError **error)
{
  g_autoptr(OtOp) others = NULL;
  if (meanwhile)
    *meanwhile = NULL;
  if (ot_op_empty(op))
    return doc_copy_refresh(copy, meanwhile, error);
  if (!doc_copies_begin(copy->copies, error) || !end(copy, edit(copy, op, &others, error), error))
    return FALSE;
  if (meanwhile && others && !ot_op_empty(others))
    *meanwhile = g_steal_pointer(&others);
  return TRUE;
}

/* ---- the keeper ---- */

static gboolean
lock(DocCopy *copy, GError **error)
{
  g_autoptr(GString) name = g_string_new(NULL);
  for (guint i = 0; i < sizeof copy->document.bytes; i++)
    g_string_append_printf(name, "%02x", copy->document.bytes[i]);
  g_autofree char *path = g_strdup_printf("%s/%s.lock", copy->copies->folder, name->str);
  copy->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (copy->lock < 0)
    return doppel_error_errno(error, "cannot make %s", path);
  if (flock(copy->lock, LOCK_EX | LOCK_NB) == 0)
    return TRUE;
  gboolean busy = errno == EWOULDBLOCK;
  if (!busy)
    doppel_error_errno(error, "cannot lock %s", path);
  else
    doppel_error_set(error, DOPPEL_ERROR_ABORTED,
                     "another program on this device keeps the document in step with the clone");
  io_close(&copy->lock);
  return FALSE;
}

/* `*paired` gets up to where it has what was edited here. */
static DocPair *
read_pair(DocCopy *copy, gint64 *paired, GError **error)
{
  g_autoptr(DatabaseUse) row = database_statements_use(
      copy->copies->statements, error, "SELECT pair, paired FROM document WHERE id = ?", "i", copy->id);
  if (!row || database_step(row, error) < 1)
    return NULL;
  *paired = sqlite3_column_int64(row, 1);
  gsize length = sqlite3_column_bytes(row, 0);
  if (length == 0)
    return doc_pair_new(DOC_PAIR_DEVICE);
  DocPair *pair = doc_pair_load(DOC_PAIR_DEVICE, sqlite3_column_blob(row, 0), length, NULL);
  if (!pair)
    damaged(copy, error);
  return pair;
}

gboolean
doc_copy_is_settled(DocCopy *copy, gboolean *settled, GError **error)
{
  gint64 paired = 0, last = -1;
  if (!database_run(copy->copies->db, error, "BEGIN", ""))
    return FALSE;
  g_autoptr(DocPair) pair = read_pair(copy, &paired, error);
  if (pair) {
    g_autoptr(DatabaseUse) row = database_statements_use(
        copy->copies->statements, error, "SELECT last FROM document WHERE id = ?", "i", copy->id);
    if (row && database_step(row, error) > 0)
      last = sqlite3_column_int64(row, 0);
  }
  *settled = pair && paired == last && doc_pair_is_settled(pair);
  return doc_copies_end(copy->copies, pair && last >= 0, error);
}

/* Until the clone has answered, each link begins another copy there: what was said over an earlier one may
 * come late, and would begin the copy anew that has come into use since. */
static gboolean
choose_id(DocCopy *copy, GError **error)
{
  if (!database_statements_run(copy->copies->statements, error,
                               "UPDATE document SET copy = randomblob(16) WHERE id = ? AND begun = 0", "i",
                               copy->id))
    return FALSE;
  g_autoptr(DatabaseUse) row = database_statements_use(
      copy->copies->statements, error, "SELECT copy, begun FROM document WHERE id = ?", "i", copy->id);
  if (!row || database_step(row, error) < 1)
    return error && *error ? FALSE : damaged(copy, error);
  copy->begun = sqlite3_column_int64(row, 1);
  return database_blob(row, 0, copy->copy, sizeof copy->copy) || damaged(copy, error);
}

gboolean
doc_copy_keep(DocCopy *copy, GError **error)
{
  if (copy->lock < 0 && !lock(copy, error))
    return FALSE;
  if (!choose_id(copy, error)) {
    doc_copy_let_go(copy);
    return FALSE;
  }
  g_clear_pointer(&copy->pair, doc_pair_free);
  copy->pair = read_pair(copy, &copy->paired, error);
  if (!copy->pair) {
    doc_copy_let_go(copy);
    return FALSE;
  }
  doc_pair_begin(copy->pair);
  return TRUE;
}

gboolean
doc_copy_is_keeper(const DocCopy *copy)
{
  return copy->pair != NULL;
}

void
doc_copy_let_go(DocCopy *copy)
{
  g_clear_pointer(&copy->pair, doc_pair_free);
  io_close(&copy->lock);
}

/* Nobody reads changes that the text has, but who has seen a part of them; that one compares texts. */
static gboolean
write_text(DocCopy *copy, GError **error)
{
  g_autoptr(DatabaseUse) sum =
      database_statements_use(copy->copies->statements, error,
                              "SELECT total(length(op)) FROM change WHERE document = ?", "i", copy->id);
  if (!sum || database_step(sum, error) < 1)
    return FALSE;
  if (sqlite3_column_int64(sum, 0) < MAX(CHANGES_MAX, (gint64)ot_text_bytes(copy->text) / 4))
    return TRUE;
  gsize bytes;
  g_autofree char *utf8 = ot_text_copy(copy->text, 0, ot_text_length(copy->text), &bytes);
  return database_statements_run(copy->copies->statements, error,
                                 "UPDATE document SET text = ?, at = ? WHERE id = ?", "bii", utf8, bytes,
                                 copy->number, copy->id) &&
         database_statements_run(copy->copies->statements, error, "DELETE FROM change WHERE document = ?",
                                 "i", copy->id);
}

static gboolean
write_pair(DocCopy *copy, GError **error)
{
  g_autoptr(GBytes) state = doc_pair_save(copy->pair);
  gsize length;
  const void *bytes = g_bytes_get_data(state, &length);
  copy->paired = copy->number;
  return database_statements_run(copy->copies->statements, error,
                                 "UPDATE document SET pair = ?, paired = ?, begun = ? WHERE id = ?", "biii",
                                 bytes, length, copy->paired, (gint64)copy->begun, copy->id);
}

static void
add(OtOp **shown, OtOp *op)
{
  OtOp *both = *shown ? ot_op_compose(*shown, op) : ot_op_copy(op);
  ot_op_free(*shown);
  *shown = both;
}

static gboolean
take(DocCopy *copy, GBytes *message, OtOp **shown, GError **error)
{
  g_autoptr(OtOp) op = NULL;
  gsize length;
  const void *data = g_bytes_get_data(message, &length);
  if (!doc_pair_take(copy->pair, data, length, &op, error))
    return FALSE;
  if (op)
    add(shown, op);
  return !op || change(copy, op, error);
}

/* In a transaction. */
static gboolean
step(DocCopy *copy, const GPtrArray *in, GPtrArray *out, OtOp **shown, GError **error)
{
  if (!refresh(copy, shown, error))
    return FALSE;
  if (copy->number > copy->paired) {
    g_autoptr(OtOp) edited = read_changes(copy, copy->paired, copy->number, error);
    if (!edited || !doc_pair_edit(copy->pair, edited, error))
      return FALSE;
  }
  gboolean anything = copy->number > copy->paired || in->len > 0;
  for (guint i = 0; i < in->len; i++)
    if (!take(copy, in->pdata[i], shown, error))
      return FALSE;
  copy->begun |= in->len > 0;
  for (GBytes *next; out && (next = doc_pair_next(copy->pair)); anything = TRUE)
    g_ptr_array_add(out, next);
  return !anything || (write_pair(copy, error) && write_text(copy, error));
}

gboolean
doc_copy_step(DocCopy *copy, const GPtrArray *in, GPtrArray *out, OtOp **shown, GError **error)
{
  g_autoptr(OtOp) op = NULL;
  *shown = NULL;
  if (!doc_copies_begin(copy->copies, error))
    return FALSE;
  if (!end(copy, step(copy, in, out, &op, error), error)) {
    doc_copy_let_go(copy);
    return FALSE;
  }
  if (op && !ot_op_empty(op))
    *shown = g_steal_pointer(&op);
  return TRUE;
}

static gboolean
anew(DocCopy *copy, GError **error)
{
  return database_statements_run(
             copy->copies->statements, error,
             "UPDATE document SET text = x'', at = last, pair = x'', paired = last, kept = 0, begun = 0,"
             " copy = randomblob(16) WHERE id = ?",
             "i", copy->id) &&
         database_statements_run(copy->copies->statements, error, "DELETE FROM change WHERE document = ?",
                                 "i", copy->id);
}

gboolean
doc_copy_anew(DocCopy *copy, char **lost, GError **error)
{
  gboolean settled;
  *lost = NULL;
  if (!doc_copy_is_settled(copy, &settled, error) || !doc_copies_begin(copy->copies, error))
    return FALSE;
  g_autoptr(OtOp) shown = NULL;
  gboolean good = refresh(copy, &shown, error);
  if (good && !settled)
    *lost = ot_text_copy(copy->text, 0, ot_text_length(copy->text), NULL);
  good = end(copy, good && anew(copy, error), error);
  copy->number = NEVER;
  return good && doc_copy_refresh(copy, NULL, error);
}
