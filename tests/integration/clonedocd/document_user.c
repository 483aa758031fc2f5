/* Members of a document, and others, for the tests of its server. "document-user VERB ADDRESS=KEY …":
 *
 * - make SERVER WRITERS: makes a document; prints its name.
 * - write SERVER NAME WHO COUNT[,MS]: writer WHO (from 1) appends COUNT entries, with pauses of MS
 *   milliseconds, each on what it has seen; prints "SEQUENCE NUMBER" as soon as one is acknowledged.
 * - read SERVER NAME: prints "NUMBER AUTHOR SEQUENCE" of all entries, then "head HEX".
 * - strange SERVER NAME: a stranger's attempts; prints what each is answered.
 * - nonsense SERVER COUNT SEED: random bytes as calls, over COUNT connections.
 * - compare KEY HEX HEX: whether two heads prove that the server showed two histories.
 *
 * Keys follow from WHO. All of it is checked as members check it: exit status 3, with "fault: WORDS", where
 * the server is found out, 1 where something else fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "clonedoc/server/client.h"
#include "doc_world.h"

#define PATIENCE_MS 120000
#define WRITERS_MAX 64
#define FOUND_OUT   3

typedef struct {
  DocClient *client;
  DocName document;
  DocHistory *history;
  Person *self; /* NULL: only looks */
  guint64 follow, head;
  GBytes *signed_head;
  gboolean prints;
} User;

static void
user_clear(User *user)
{
  doc_client_free(user->client);
  g_clear_pointer(&user->history, doc_history_free);
  g_clear_pointer(&user->signed_head, g_bytes_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(User, user_clear)

static int
fail(const User *user, const GError *error)
{
  DocFault fault = user && user->history ? doc_history_fault(user->history) : DOC_FAULT_NONE;
  if (fault != DOC_FAULT_NONE) {
    printf("fault: %s\n", doc_fault_name(fault));
    return FOUND_OUT;
  }
  fprintf(stderr, "document-user: %s\n", error ? error->message : "failed");
  if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE)) {
    printf("fault: %s\n", error->message);
    return FOUND_OUT;
  }
  return 1;
}

static gboolean
parse_hex(const char *text, guint8 *bytes, gsize length)
{
  gboolean good = strlen(text) == 2 * length;
  for (gsize i = 0; good && i < length; i++)
    good = sscanf(text + 2 * i, "%2hhx", &bytes[i]) == 1;
  return good;
}

static void
print_hex(const char *before, const void *data, gsize length)
{
  printf("%s", before);
  for (gsize i = 0; i < length; i++)
    printf("%02x", ((const guint8 *)data)[i]);
  printf("\n");
  fflush(stdout);
}

static DocClient *
connect_to(const char *place, const IdentityKey *own, GError **error)
{
  const char *equals = strrchr(place, '=');
  IdentityPublic key;
  if (!equals || !identity_public_from_text(equals + 1, &key, error))
    return NULL;
  g_autofree char *address = g_strndup(place, (gsize)(equals - place));
  return doc_client_new((const char *const[]){address, NULL}, &key, own, error);
}

/* ---- what a member does with what comes ---- */

static gboolean
take_entry(User *user, guint64 number, GBytes *bytes, GError **error)
{
  gsize length;
  DocVerdict verdict;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DocEnvelope) envelope = doc_envelope_decode(data, length, error);
  if (!envelope || !doc_history_take(user->history, number, envelope, &verdict, error))
    return FALSE;
  if (user->self && envelope->kind == DOC_MEMBERS)
    person_learn(user->self, envelope);
  g_autofree char *author = identity_public_to_text(&envelope->author);
  if (user->prints)
    printf("%" G_GUINT64_FORMAT " %s %" G_GUINT64_FORMAT "\n", number, author, envelope->sequence);
  return TRUE;
}

static gboolean
take_follow(User *user, const DocClientEvent *event, GError **error)
{
  if (event->answer->status != DOC_STATUS(OK))
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "follow: %s", doc_status_name(event->answer->status));
  for (guint i = 0; i < event->answer->entries->len; i++)
    if (!take_entry(user, event->answer->number + i, event->answer->entries->pdata[i], error))
      return FALSE;
  user->head = event->head.number;
  g_clear_pointer(&user->signed_head, g_bytes_unref);
  user->signed_head = g_bytes_ref(event->head.packed);
  return doc_history_check_head(user->history, &event->head, error);
}

static gboolean
is_caught_up(const User *user)
{
  return user->head > 0 && doc_history_number(user->history) >= user->head;
}

/* Follows until all that the server has signed is there. */
static gboolean
catch_up(User *user, GError **error)
{
  while (!is_caught_up(user)) {
    g_autoptr(DocClientEvent) event = doc_client_await(user->client, PATIENCE_MS, error);
    if (!event || !take_follow(user, event, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- verbs ---- */

static int
make(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Person) owner = person_new(200);
  guint count = (guint)atoi(argv[3]);
  Person *writers[WRITERS_MAX];
  DocName name;
  g_autoptr(DocClient) client = connect_to(argv[2], owner->key, &error);
  if (!client || count > WRITERS_MAX)
    return fail(NULL, error);
  for (guint i = 0; i < count; i++)
    writers[i] = person_new((guint8)(i + 1));
  g_autoptr(DocEnvelope) first = person_found(owner, writers, count, &name);
  for (guint i = 0; i < count; i++)
    person_free(writers[i]);
  g_autoptr(GBytes) packed = doc_envelope_pack(first);
  doc_client_append(client, &name, packed);
  g_autoptr(DocClientEvent) event = doc_client_await(client, PATIENCE_MS, &error);
  if (!event || event->answer->status != DOC_STATUS(OK)) {
    printf("%s\n", event ? doc_status_name(event->answer->status) : "nothing");
    return fail(NULL, error);
  }
  print_hex("", name.bytes, sizeof name.bytes);
  return 0;
}

static gboolean
begin(User *user, const char *place, const char *name, const IdentityKey *key, GError **error)
{
  user->client = connect_to(place, key, error);
  if (!user->client)
    return FALSE;
  if (!parse_hex(name, user->document.bytes, sizeof user->document.bytes))
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "no name: %s", name);
  user->history = doc_history_new(&user->document);
  user->follow = doc_client_follow(user->client, &user->document, 1);
  return catch_up(user, error);
}

static DocEnvelope *
write_edit(User *user, guint which)
{
  g_autofree char *words = g_strdup_printf("words number %u", which);
  return person_edit(user->self, user->history, words);
}

/* One entry, until it is acknowledged and has come back. FAILED is tried again, with the same bytes. */
static gboolean
write_one(User *user, const DocEnvelope *edit, GError **error)
{
  g_autoptr(GBytes) packed = doc_envelope_pack(edit);
  guint64 call = doc_client_append(user->client, &user->document, packed), number = 0;
  while (number == 0 || doc_history_number(user->history) < number) {
    g_autoptr(DocClientEvent) event = doc_client_await(user->client, PATIENCE_MS, error);
    if (!event)
      return FALSE;
    if (event->call == user->follow) {
      if (!take_follow(user, event, error))
        return FALSE;
    } else if (event->answer->status == DOC_STATUS(FAILED)) {
      printf("failed\n");
      fflush(stdout);
      g_usleep(50000);
      call = doc_client_append(user->client, &user->document, packed);
    } else if (event->call == call && event->answer->status == DOC_STATUS(OK)) {
      number = event->answer->number;
      printf("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT "\n", edit->sequence, number);
      fflush(stdout);
    } else {
      return doppel_error_set(error, DOPPEL_ERROR_FAILED, "append: %s (%s)",
                              doc_status_name(event->answer->status), doc_fault_name(event->answer->fault));
    }
  }
  return doc_history_sequence(user->history, &edit->author) >= edit->sequence ||
         doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "what was acknowledged is not there");
}

static int
write_all(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Person) self = person_new((guint8)atoi(argv[4]));
  g_auto(User) user = {.self = self};
  char *rest;
  gulong count = strtoul(argv[5], &rest, 10), pause_ms = *rest == ',' ? strtoul(rest + 1, NULL, 10) : 0;
  gboolean good = begin(&user, argv[2], argv[3], self->key, &error);
  if (good)
    self->sequence = doc_history_sequence(user.history, identity_key_public(self->key));
  for (guint i = 0; good && i < count; i++) {
    g_autoptr(DocEnvelope) edit = write_edit(&user, i);
    good = write_one(&user, edit, &error);
    if (good && pause_ms)
      g_usleep(pause_ms * 1000);
  }
  if (!good)
    return fail(&user, error);
  gsize length;
  const void *bytes = g_bytes_get_data(user.signed_head, &length);
  print_hex("head ", bytes, length);
  return 0;
}

static int
read_all(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Person) self = person_new(250);
  g_auto(User) user = {.prints = TRUE};
  if (!begin(&user, argv[2], argv[3], self->key, &error))
    return fail(&user, error);
  gsize length;
  const void *bytes = g_bytes_get_data(user.signed_head, &length);
  print_hex("head ", bytes, length);
  return 0;
}

static int
watch(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Person) self = person_new(251);
  g_auto(User) user = {.prints = TRUE};
  gboolean good = begin(&user, argv[2], argv[3], self->key, &error);
  while (good) {
    fflush(stdout);
    g_autoptr(DocClientEvent) event = doc_client_await(user.client, PATIENCE_MS, &error);
    good = event && take_follow(&user, event, &error);
  }
  return fail(&user, error);
}

static int
invite(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Person) self = person_new(200);
  g_autoptr(Person) other = person_new((guint8)atoi(argv[4]));
  g_auto(User) user = {.self = self};
  if (!begin(&user, argv[2], argv[3], self->key, &error))
    return fail(&user, error);
  self->sequence = doc_history_sequence(user.history, identity_key_public(self->key));
  g_autoptr(DocEnvelope) change = person_change(self, user.history, other, DOC_WRITER, 1);
  return write_one(&user, change, &error) ? 0 : fail(&user, error);
}

static int
strange(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Person) self = person_new(249);
  g_auto(User) user = {0};
  if (!begin(&user, argv[2], argv[3], self->key, &error))
    return fail(&user, error);
  doc_client_end(user.client, user.follow);
  for (guint kind = 0; kind < 3; kind++) {
    g_autoptr(DocEnvelope) envelope = person_entry(self, user.history, DOC_EDIT);
    g_autoptr(Person) member = person_new(1);
    envelope->sealed = g_bytes_new_static("forty bytes or more, as sealing makes them.", 43);
    if (kind > 0)
      envelope->author = *identity_key_public(member->key);
    envelope->sequence = kind == 0 ? 1 : doc_history_sequence(user.history, &envelope->author) + kind;
    doc_envelope_sign(envelope, &user.document, kind == 2 ? member->key : self->key);
    g_autoptr(GBytes) packed = doc_envelope_pack(envelope);
    doc_client_append(user.client, &user.document, packed);
    g_autoptr(DocClientEvent) event = doc_client_await(user.client, PATIENCE_MS, &error);
    if (!event)
      return fail(NULL, error);
    printf("%s: %s\n", doc_status_name(event->answer->status), doc_fault_name(event->answer->fault));
  }
  return 0;
}

static gboolean
talk_nonsense(Link *link, GRand *chance)
{
  guint8 bytes[2000];
  for (guint i = 0; i < 20; i++) {
    gsize length = (gsize)g_rand_int_range(chance, 1, (gint32)sizeof bytes);
    guint32 channel = g_rand_boolean(chance)                ? DOC_CHANNEL
                      : g_rand_int_range(chance, 0, 4) == 0 ? g_rand_int(chance)
                                                            : DOC_CHANNEL_PART;
    for (gsize at = 0; at < length; at++)
      bytes[at] = (guint8)g_rand_int(chance);
    if (!link_send(link, channel, &(struct iovec){bytes, length}, 1, NULL))
      return FALSE;
  }
  g_autoptr(LinkMessage) message = link_await(link, 1000, NULL);
  return message != NULL;
}

static int
nonsense(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(Person) self = person_new(248);
  g_autoptr(GRand) chance = g_rand_new_with_seed((guint32)atoi(argv[4]));
  const char *equals = strrchr(argv[2], '=');
  IdentityPublic key;
  guint answered = 0;
  if (!equals || !identity_public_from_text(equals + 1, &key, &error))
    return fail(NULL, error);
  g_autofree char *address = g_strndup(argv[2], (gsize)(equals - argv[2]));
  for (int left = atoi(argv[3]); left > 0; left--) {
    static const guint8 clone[16];
    LinkOptions options = LINK_OPTIONS_DEFAULT;
    options.resume_ms = 0;
    g_autoptr(Link) link =
        link_dial((const char *const[]){address, NULL}, self->key, &key, clone, &options, &error);
    if (!link)
      return fail(NULL, error);
    answered += talk_nonsense(link, chance);
  }
  printf("%u\n", answered);
  return 0;
}

static int
compare(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  IdentityPublic key;
  DocHead heads[2] = {{.number = 0}, {.number = 0}};
  if (!identity_public_from_text(argv[2], &key, &error))
    return fail(NULL, error);
  for (guint i = 0; i < 2; i++) {
    gsize length = strlen(argv[3 + i]) / 2;
    g_autofree guint8 *bytes = g_malloc0(length + 1);
    if (!parse_hex(argv[3 + i], bytes, length) || !doc_head_decode(&heads[i], bytes, length, &key, &error))
      return fail(NULL, error);
  }
  printf("%s\n", doc_heads_conflict(&heads[0], &heads[1]) ? "two histories" : "no proof");
  doc_head_clear(&heads[0]);
  doc_head_clear(&heads[1]);
  return 0;
}

int
main(int argc, char **argv)
{
  static const struct {
    const char *name;
    int (*function)(int argc, char **argv);
    int words;
  } verbs[] = {{"make", make, 4},         {"write", write_all, 6}, {"read", read_all, 4},
               {"watch", watch, 4},       {"invite", invite, 5},   {"strange", strange, 4},
               {"nonsense", nonsense, 5}, {"compare", compare, 5}};
  for (guint i = 0; argc > 1 && i < G_N_ELEMENTS(verbs); i++)
    if (strcmp(argv[1], verbs[i].name) == 0 && argc == verbs[i].words)
      return verbs[i].function(argc, argv);
  fprintf(stderr, "document-user: see the beginning of document_user.c\n");
  return 2;
}
