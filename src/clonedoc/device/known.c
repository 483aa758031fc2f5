#include "clonedoc/device/known.h"

#include <string.h>

#include "base/error.h"
#include "wire/message.h"

#define DIGITS_LEAST 4

static DocRoomAnswer *
receive(int fd, GError **error)
{
  g_autoptr(GBytes) frame = wire_stream_receive(fd, DOC_ROOM_FRAME_MAX, error);
  gsize length = 0;
  const void *data = frame ? g_bytes_get_data(frame, &length) : NULL;
  return frame ? doc_room_answer_take(data, length, error) : NULL;
}

gboolean
doc_answers_over(int fd, DocEach each, gpointer data, GError **error)
{
  for (;;) {
    g_autoptr(DocRoomAnswer) answer = receive(fd, error);
    if (!answer)
      return FALSE;
    if (answer->what_case == DOC_ROOM_TELL(END))
      return TRUE;
    if (answer->what_case == DOC_ROOM_TELL(FAILED))
      return doc_room_failed(answer->failed, error);
    if (each && !each(answer, data, error))
      return FALSE;
  }
}

gboolean
doc_ask_over(int fd, DocRoomQuestion *question, DocEach each, gpointer data, GError **error)
{
  return wire_stream_send(fd, &question->base, error) && doc_answers_over(fd, each, data, error);
}

char *
doc_known_folder(gboolean direct)
{
  g_autofree char *identity = identity_directory();
  return g_build_filename(identity, direct ? "documents-direct" : "documents", NULL);
}

DocCopies *
doc_known_open(gboolean direct, GError **error)
{
  g_autofree char *folder = doc_known_folder(direct);
  return doc_copies_open(folder, error);
}

char *
doc_name_text(const DocName *name, guint digits)
{
  g_autoptr(GString) text = g_string_new(NULL);
  for (guint i = 0; i < sizeof name->bytes && text->len < digits; i++)
    g_string_append_printf(text, "%02x", name->bytes[i]);
  return g_string_free(g_steal_pointer(&text), FALSE);
}

void
doc_row_free(DocRow *row)
{
  doppel__room__row__free_unpacked(row, NULL);
}

DocRow *
doc_known_row(const DocKnown *known)
{
  gsize length;
  const void *data = g_bytes_get_data(known->row, &length);
  return doppel__room__row__unpack(NULL, length, data);
}

DocRow *
doc_row_copy(const DocRow *row)
{
  g_autoptr(GBytes) packed = wire_pack(&row->base);
  gsize length;
  const void *data = g_bytes_get_data(packed, &length);
  return doppel__room__row__unpack(NULL, length, data);
}

gboolean
doc_row_is_accepted(const DocRow *row, GError **error)
{
  return row->state != DOPPEL__ROOM__STATE__INVITED ||
         doppel_error_set(error, DOPPEL_ERROR_DENIED,
                          "%s invites you to \"%s\": \"doppel doc accept\" says yes", row->from, row->title);
}

gboolean
doc_row_may_write(const DocRow *row, GError **error)
{
  if (!doc_row_is_accepted(row, error))
    return FALSE;
  if (row->state == DOPPEL__ROOM__STATE__REMOVED)
    return doppel_error_set(
        error, DOPPEL_ERROR_DENIED,
        "you are no member of \"%s\" any more: \"doppel doc export\" keeps the text as it was", row->title);
  if (row->state == DOPPEL__ROOM__STATE__JOINING)
    return doppel_error_set(error, DOPPEL_ERROR_DENIED,
                            "the text of \"%s\" is not here yet: you can write when it has come%s%s",
                            row->title, row->words[0] ? ". It does not come now: " : "", row->words);
  return row->role >= DOPPEL__ROOM__ROLE__WRITER ||
         doppel_error_set(error, DOPPEL_ERROR_DENIED,
                          "you may read \"%s\", not write: ask an owner (\"doppel doc members\") for more",
                          row->title);
}

static DocKnown *
known_of(const DocRow *row)
{
  DocKnown *known = g_new0(DocKnown, 1);
  memcpy(known->document.bytes, row->document.data, sizeof known->document.bytes);
  known->title = g_strdup(row->title);
  known->row = wire_pack(&row->base);
  return known;
}

gboolean
doc_known_keep(DocCopies *copies, const DocRow *row, GError **error)
{
  g_autoptr(DocKnown) known = known_of(row);
  return doc_copies_add(copies, known, error);
}

static gboolean
add_row(const DocRoomAnswer *answer, gpointer data, GError **error)
{
  if (answer->what_case != DOC_ROOM_TELL(ROW))
    return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the clone's answer is none");
  g_ptr_array_add(data, known_of(answer->row));
  return TRUE;
}

static void
known_destroy(gpointer known)
{
  doc_known_free(known);
}

gboolean
doc_known_update(DocCopies *copies, DocAsker ask, GError **error)
{
  g_autoptr(GPtrArray) known = g_ptr_array_new_with_free_func(known_destroy);
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.what_case = DOC_ROOM_ASK(LIST);
  question.list = TRUE;
  return ask(&question, add_row, known, error) && doc_copies_know(copies, known, error);
}

static gboolean
matches(const DocKnown *known, const char *word)
{
  g_autofree char *name = doc_name_text(&known->document, 2 * DOC_NAME_LENGTH);
  return strcmp(known->title, word) == 0 || (strlen(word) >= DIGITS_LEAST && g_str_has_prefix(name, word));
}

/* NULL without an error: there is none. */
static DocKnown *
find(DocCopies *copies, const char *word, GError **error)
{
  g_autoptr(GPtrArray) list = doc_copies_list(copies, error);
  g_autoptr(GString) several = g_string_new(NULL);
  DocKnown *found = NULL;
  for (guint i = 0; list && i < list->len; i++) {
    DocKnown *known = list->pdata[i];
    if (!matches(known, word))
      continue;
    g_autofree char *name = doc_name_text(&known->document, 8);
    g_string_append_printf(several, "%s%s", found ? ", " : "", name);
    if (found && *error == NULL)
      doppel_error_set(error, DOPPEL_ERROR_USAGE, "several documents are called so");
    found = known;
  }
  if (*error) {
    if (several->len > 0)
      g_prefix_error(error, "\"%s\" may be one of %s; write which: ", word, several->str);
    return NULL;
  }
  if (!found)
    return NULL;
  guint index;
  g_ptr_array_find(list, found, &index);
  return g_ptr_array_steal_index(list, index);
}

DocKnown *
doc_known_find(DocCopies *copies, const char *word, DocAsker ask, GError **error)
{
  g_autoptr(GError) problem = NULL, away = NULL;
  DocKnown *known = find(copies, word, &problem);
  if (!known && !problem && ask && doc_known_update(copies, ask, &away))
    known = find(copies, word, &problem);
  if (known)
    return known;
  if (problem)
    g_propagate_error(error, g_steal_pointer(&problem));
  else if (away)
    doppel_error_set(error, away->code,
                     "this device knows no document \"%s\", and its clone cannot be asked: %s", word,
                     away->message);
  else
    doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                     "there is no document \"%s\": \"doppel doc list\" shows what there is", word);
  return NULL;
}
