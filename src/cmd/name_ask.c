/* Questions of a device to a directory, one connection each. Everything else a clone asks for it. */
#include <string.h>

#include "base/error.h"
#include "c2c/directory_head.h"
#include "cmd/name.h"
#include "link/link.h"

#define ANSWER_MS 15000

static GBytes *
exchange(const DirectoryPlace *place, GBytes *question, GError **error)
{
  static const guint8 nobody[WIRE_ID_LENGTH];
  const char *addresses[] = {place->address, NULL};
  LinkOptions options = {.connect_ms = 5000,
                         .keepalive_ms = 5000,
                         .compression = -1,
                         .message_max = DIRECTORY_ANSWER_MAX,
                         .inbox_max = DIRECTORY_ANSWER_MAX};
  g_autoptr(IdentityKey) device = identity_device_key(error);
  g_autoptr(Link) link = device ? link_dial(addresses, device, &place->key, nobody, &options, error) : NULL;
  gsize length;
  struct iovec piece = {(void *)g_bytes_get_data(question, &length), g_bytes_get_size(question)};
  if (!link || !link_send(link, DIRECTORY_CHANNEL, &piece, 1, error))
    return NULL;
  g_autoptr(LinkMessage) message = link_await(link, ANSWER_MS, error);
  return message ? g_bytes_new(message->data, message->length) : NULL;
}

static DirectoryAnswer *
ask(const DirectoryPlace *place, DirectoryQuestion *question, GError **error)
{
  question->id = 1;
  g_autoptr(GBytes) asked = directory_question_encode(question);
  g_autoptr(GBytes) said = exchange(place, asked, error);
  gsize length = 0;
  const void *data = said ? g_bytes_get_data(said, &length) : NULL;
  g_autoptr(DirectoryAnswer) answer = said ? directory_answer_decode(data, length, error) : NULL;
  if (!answer) {
    g_prefix_error(error, "the directory \"%s\" at %s: ", name_place_words(place), place->address);
    return NULL;
  }
  if (answer->id == question->id)
    return g_steal_pointer(&answer);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "the directory \"%s\" answers what nobody asked",
                   name_place_words(place));
  return NULL;
}

/* Of a name there is one user at home in a directory, the rest is what it heard of. */
static Record *
choose(const DirectoryFound *found, const DirectoryPlace *place, const DirectoryQuestion *question,
       GError **error)
{
  const IdentityPublic *origin = question->by_origin ? &question->origin : NULL;
  for (guint i = 0; i < found->records->len; i++) {
    gsize length;
    const void *data = g_bytes_get_data(found->records->pdata[i], &length);
    g_autoptr(Record) record = record_decode(data, length, origin, error);
    if (!record)
      return NULL;
    if (identity_public_equal(&record->directory, &question->home) &&
        (origin || strcmp(record->name, question->name) == 0))
      return g_steal_pointer(&record);
  }
  doppel_error_set(error, DOPPEL_ERROR_NOT_FOUND,
                   "the directory \"%s\" knows no user of that name: look at how it is written, and say with "
                   "--directory where it was claimed",
                   name_place_words(place));
  return NULL;
}

static gboolean
set_user(DirectoryQuestion *question, const char *user, GError **error)
{
  question->by_origin = g_str_has_prefix(user, "key:");
  if (question->by_origin)
    return identity_public_from_text(user + strlen("key:"), &question->origin, error);
  g_free(question->name);
  question->name = g_strdup(user);
  return record_name_check(user, error);
}

static Record *
look_up(const DirectoryPlace *place, DirectoryQuestion *question, GError **error)
{
  g_autoptr(DirectoryAnswer) answer = ask(place, question, error);
  if (!answer)
    return NULL;
  if (answer->status != DIRECTORY_STATUS(OK) && answer->status != DIRECTORY_STATUS(UNKNOWN)) {
    directory_answer_refusal(answer, name_place_words(place), error);
    return NULL;
  }
  g_autoptr(DirectoryFound) found = directory_found_verify(&answer->found, &place->key, question, error);
  return found ? choose(found, place, question, error) : NULL;
}

/* What the others do not know, or do not say, is as good as nothing. */
static Record *
ask_others(Record *found, const DirectoryPlace *home, const GPtrArray *places)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(LOOKUP));
  question->by_origin = question->has_home = TRUE;
  question->origin = found->origin;
  question->home = home->key;
  for (guint i = 0; i < places->len; i++) {
    const DirectoryPlace *place = places->pdata[i];
    g_autoptr(Record) other =
        identity_public_equal(&place->key, &home->key) ? NULL : look_up(place, question, NULL);
    if (!other || !record_supersedes(other, found))
      continue;
    g_printerr("The directory \"%s\" knows a newer record of \"%s\" than their home directory shows.\n",
               name_place_words(place), found->name);
    record_unref(found);
    found = g_steal_pointer(&other);
  }
  return found;
}

Record *
name_ask_lookup(const DirectoryPlace *home, const GPtrArray *places, const char *user, GError **error)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(LOOKUP));
  if (!set_user(question, user, error))
    return NULL;
  question->has_home = TRUE;
  question->home = home->key;
  Record *found = look_up(home, question, error);
  return found ? ask_others(found, home, places) : NULL;
}

gboolean
name_ask_register(const DirectoryPlace *place, const Record *record, guint64 *number, GError **error)
{
  g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(REGISTER));
  question->record = g_bytes_ref(record->bytes);
  g_autoptr(DirectoryAnswer) answer = ask(place, question, error);
  if (!answer)
    return FALSE;
  if (answer->status != DIRECTORY_STATUS(OK))
    return directory_answer_refusal(answer, name_place_words(place), error);
  *number = answer->number;
  return TRUE;
}
