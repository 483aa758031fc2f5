/* A client whose two directories are the fuzzer: they sign what they like, withhold, answer other questions,
 * show other lists, hang up. Whatever they say, the client shows nobody whom the user's own keys do not
 * prove, never goes back to an older record, and keeps no evidence that proves nothing.
 *
 * The linker gives the client this file's link_dial(), link_dial_later() and link_work(): see meson.build. */
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "c2c/directory_client.h"
#include "people.h"

#define STEPS     24
#define PLACES    2u
#define DIALS_MAX 3000 /* of an input */
#define ENDS      8u   /* of connections that may be there at a time */

/* A connection: the directory's end of it, and which one that is. */
typedef struct {
  const Link *client;
  Link *link;
  const IdentityKey *key;
} End;

typedef struct {
  End ends[ENDS];
  const IdentityKey *key; /* of the directory that speaks */
  guint dials;
  Input input;
} World;
static World world;

Link *__wrap_link_dial(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
                       const guint8 clone[16], const LinkOptions *options, GError **error);
Link *__wrap_link_dial_later(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
                             const guint8 clone[16], const LinkOptions *options, GError **error);
gboolean __wrap_link_work(Link *link, GError **error);
gboolean __real_link_work(Link *link, GError **error);

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

/* The oldest connections are the likeliest to be over. */
Link *
__wrap_link_dial(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
                 const guint8 clone[16], const LinkOptions *options, GError **error)
{
  int ends[2];
  End *end = &world.ends[world.dials % ENDS];
  demand(world.dials++ < DIALS_MAX && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  g_clear_pointer(&end->link, link_free);
  end->key =
      identity_public_equal(peer, identity_key_public(people_home(0))) ? people_home(0) : people_home(1);
  end->link = link_new_local(ends[1]);
  Link *link = link_new_local(ends[0]);
  end->client = link;
  return link;
}

Link *
__wrap_link_dial_later(const char *const *addresses, const IdentityKey *own, const IdentityPublic *peer,
                       const guint8 clone[16], const LinkOptions *options, GError **error)
{
  return __wrap_link_dial(addresses, own, peer, clone, options, error);
}

static guint64
some_number(void)
{
  guint choice = input_below(&world.input, 12);
  return choice < 11 ? choice : input_number(&world.input, 8);
}

static const IdentityKey *
some_signer(void)
{
  return input_below(&world.input, 8) ? world.key : people_home(input_below(&world.input, PEOPLE_HOMES));
}

/* Of one true list for all directories, or of others. */
static DirectoryState
some_state(void)
{
  DirectoryState state = {0};
  guint8 hash[RECORD_HASH_LENGTH] = {0};
  guint64 length = input_below(&world.input, 12);
  guint forked = input_below(&world.input, 4) ? 100 : input_below(&world.input, 12);
  for (guint i = 0; i < length; i++) {
    hash[0] = i;
    hash[1] = i >= forked;
    directory_chain_extend(&state, hash);
  }
  if (input_below(&world.input, 16) == 0)
    state.number = some_number();
  return state;
}

static DirectorySigned
some_head(void)
{
  DirectoryState state = some_state();
  gint64 aside = input_below(&world.input, 8) ? 0 : (gint64)input_number(&world.input, 3) - (1 << 23);
  return directory_head_sign(some_signer(), &state, clock_unix_time() + aside);
}

static GPtrArray *
some_records(void)
{
  GPtrArray *records = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
  for (guint left = input_below(&world.input, 5); left > 0; left--) {
    gsize length;
    const guint8 *bytes = g_bytes_get_data(people_any_record(&world.input)->bytes, &length);
    guint8 *copy = g_memdup2(bytes, length);
    if (input_below(&world.input, 16) == 0)
      copy[input_number(&world.input, 2) % length] ^= 1;
    g_ptr_array_add(records, g_bytes_new_take(copy, length));
  }
  return records;
}

static void
add_entries(DirectoryAnswer *answer, guint64 since)
{
  guint forked = input_below(&world.input, 4) ? 100 : input_below(&world.input, 12);
  answer->entries = directory_entries_new();
  for (guint left = input_below(&world.input, 12); left > 0; left--) {
    DirectoryLogEntry entry = {.number = since + 1, .hash = {(guint8)since, since >= forked}};
    if (input_below(&world.input, 16) == 0)
      entry.number = some_number();
    g_array_append_val(answer->entries, entry);
    since++;
  }
}

static GBytes *
some_answer(const DirectoryQuestion *question)
{
  Input *input = &world.input;
  if (input_below(input, 8) == 0) {
    gsize length;
    const guint8 *bytes = input_blob(input, &length);
    return g_bytes_new(bytes, length);
  }
  g_autoptr(DirectoryAnswer) answer = directory_answer_new(
      input_below(input, 8) ? DIRECTORY_STATUS(OK) : (DirectoryStatus)input_below(input, 10), NULL);
  answer->id = question->id + (input_below(input, 32) == 31);
  answer->number = some_number();
  answer->more = input_below(input, 2);
  if (input_below(input, 16))
    answer->head = some_head();
  if (question->what == DIRECTORY_WHAT(CHANGES))
    add_entries(answer, question->number);
  g_autoptr(DirectoryQuestion) other = directory_question_new(DIRECTORY_WHAT(LIST));
  other->count = 1 + input_below(input, 4);
  if (question->what == DIRECTORY_WHAT(LOOKUP) || question->what == DIRECTORY_WHAT(LIST)) {
    g_autoptr(GPtrArray) records = some_records();
    const DirectoryQuestion *answered = input_below(input, 8) ? question : other;
    /* What its own encoder would refuse to make is what bytes are for. */
    if (records->len <= (answered->count ? answered->count : DIRECTORY_FOUND_MAX))
      answer->found = directory_found_sign(some_signer(), answered, records, some_number(),
                                           clock_unix_time() + (input_below(input, 8) ? 0 : 1000000));
  }
  return directory_answer_encode(answer);
}

static void
answer(End *end, const LinkMessage *message)
{
  g_autoptr(DirectoryQuestion) question = directory_question_decode(message->data, message->length, NULL);
  demand(question != NULL);
  world.key = end->key;
  if (world.input.left == 0 || input_below(&world.input, 32) == 0) {
    g_clear_pointer(&end->link, link_free);
    return;
  }
  g_autoptr(GBytes) bytes = some_answer(question);
  gsize length;
  const void *packed = g_bytes_get_data(bytes, &length);
  guint32 channel = input_below(&world.input, 64) ? DIRECTORY_CHANNEL : 0;
  if (length > 0)
    link_send(end->link, channel, &(struct iovec){(void *)packed, length}, 1, NULL);
  /* What is on no channel of directories may be no message at all: nobody is to wait for more. */
  if (length == 0 || channel == 0)
    g_clear_pointer(&end->link, link_free);
}

/* The directory has its turn between the client's: what was not sent yet is. */
gboolean
__wrap_link_work(Link *link, GError **error)
{
  __real_link_work(link, NULL);
  for (guint i = 0; i < ENDS; i++) {
    End *end = &world.ends[i];
    if (end->client != link || !end->link)
      continue;
    gboolean alive = __real_link_work(end->link, NULL);
    g_autoptr(LinkMessage) message = alive ? link_take(end->link) : NULL;
    if (message)
      answer(end, message);
  }
  return __real_link_work(link, error);
}

static void
end_all(void)
{
  for (guint i = 0; i < ENDS; i++)
    g_clear_pointer(&world.ends[i].link, link_free);
}

/* Nobody else's, and no older than what was shown before. */
static void
check_result(const DirectoryResult *result, Record **shown)
{
  gsize length;
  const void *bytes = g_bytes_get_data(result->record->bytes, &length);
  g_autoptr(Record) record = record_decode(bytes, length, NULL, NULL);
  demand(record != NULL);
  for (guint i = 0; i < PEOPLE; i++) {
    if (!identity_public_equal(&record->origin, people_origin(i)))
      continue;
    demand(!shown[i] || memcmp(shown[i]->hash, record->hash, sizeof record->hash) == 0 ||
           record_supersedes(record, shown[i]));
    g_clear_pointer(&shown[i], record_unref);
    shown[i] = g_steal_pointer(&record);
    return;
  }
  __builtin_trap();
}

static void
check_results(GPtrArray *results, Record **shown, const char *name, const IdentityPublic *origin)
{
  for (guint i = 0; results && i < results->len; i++) {
    const DirectoryResult *result = results->pdata[i];
    demand(!name || strcmp(result->record->name, name) == 0);
    demand(!origin || identity_public_equal(&result->record->origin, origin));
    check_result(result, shown);
  }
  if (results)
    g_ptr_array_unref(results);
}

static void
show_head(DirectoryClient *client)
{
  DirectorySigned head = {0};
  if (input_below(&world.input, 4)) {
    world.key = people_home(input_below(&world.input, PLACES));
    head = some_head();
  } else {
    gsize length;
    const guint8 *bytes = input_blob(&world.input, &length);
    if (!directory_signed_unpack(bytes, length, &head, NULL))
      return;
  }
  directory_client_saw_head(client, &head, NULL);
  directory_signed_clear(&head);
}

static void
step(DirectoryClient *client, Record **shown)
{
  Input *input = &world.input;
  guint user = input_below(input, PEOPLE), what = input_below(input, 9);
  const char *name = input_below(input, 4) ? people_name(user) : "zoe";
  const IdentityPublic *home =
      input_below(input, 4) ? NULL : identity_key_public(people_home(input_below(input, PEOPLE_HOMES)));
  if (what == 0) {
    check_results(directory_client_find(client, name, NULL, home, NULL), shown, name, NULL);
  } else if (what == 1) {
    const IdentityPublic *origin = people_origin(user);
    check_results(directory_client_find(client, NULL, origin, home, NULL), shown, NULL, origin);
  } else if (what == 2) {
    gboolean more;
    g_auto(DirectoryHead) head = {0};
    check_results(directory_client_list(client, input_below(input, 2) ? people_origin(user) : NULL,
                                        input_below(input, 8), &more, &head, NULL),
                  shown, NULL, NULL);
  } else if (what == 3) {
    Record *record = people_record(user, input_below(input, PEOPLE_KINDS));
    guint64 number;
    directory_client_register(client, record, &number, NULL, NULL);
  } else if (what == 4) {
    directory_client_learn(client, people_any_record(input), NULL, NULL);
  } else if (what == 5) {
    show_head(client);
  } else if (what == 6) {
    directory_client_watch(client, NULL);
  } else if (what == 7) {
    while (directory_client_linger(client, 1000))
      ;
  } else {
    DirectoryResult *result = directory_client_whois(client, name, NULL);
    if (result)
      check_result(result, shown);
    directory_result_free(result);
  }
}

/* Two heads that the directory has signed, and that are not the same. */
static gboolean
are_heads(const DirectoryEvidence *evidence)
{
  g_auto(DirectoryHead) first = {0};
  g_auto(DirectoryHead) second = {0};
  return directory_head_verify(&evidence->first, &evidence->directory, &first, NULL) &&
         directory_head_verify(&evidence->second, &evidence->directory, &second, NULL) &&
         !directory_state_equal(&first.state, &second.state);
}

/* Two findings that it has signed, of which the later one is of no shorter list. */
static gboolean
are_findings(const DirectoryEvidence *evidence)
{
  g_autoptr(DirectoryFound) first =
      directory_found_verify(&evidence->first, &evidence->directory, NULL, NULL);
  g_autoptr(DirectoryFound) second =
      directory_found_verify(&evidence->second, &evidence->directory, NULL, NULL);
  return first && second && first->records->len > 0 && second->number >= first->number;
}

static void
check_evidence(DirectoryClient *client)
{
  g_autoptr(GPtrArray) all = directory_client_evidence(client, NULL);
  demand(all != NULL);
  for (guint i = 0; i < all->len; i++) {
    const DirectoryEvidence *evidence = all->pdata[i];
    demand(are_heads(evidence) || are_findings(evidence));
  }
  g_autoptr(GArray) heads = directory_client_heads(client);
  demand(heads && heads->len <= PEOPLE_HOMES);
}

static GLogWriterOutput
say_nothing(GLogLevelFlags level, const GLogField *fields, gsize count, gpointer data)
{
  return G_LOG_WRITER_HANDLED;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
  people_files_in_memory();
  g_log_set_writer_func(say_nothing, NULL, NULL);
  return 0;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  Record *shown[PEOPLE] = {NULL};
  world = (World){.input = {data, length}};
  g_autoptr(GPtrArray) places = g_ptr_array_new_with_free_func((GDestroyNotify)directory_place_free);
  for (guint i = 0; i < PLACES; i++) {
    g_autofree char *key = identity_public_to_text(identity_key_public(people_home(i)));
    g_autofree char *text = g_strdup_printf("192.0.2.%u:1=%s", i + 1, key);
    DirectoryPlace *place = directory_place_parse(text, NULL);
    demand(place != NULL);
    g_ptr_array_add(places, place);
  }
  DirectoryClient *client = directory_client_open("/cache", people_home(3), NULL);
  demand(client != NULL);
  directory_client_set(client, places);
  for (guint i = 0; i < STEPS && world.input.left > 0; i++)
    step(client, shown);
  check_evidence(client);
  directory_client_close(client);
  end_all();
  for (guint i = 0; i < PEOPLE; i++)
    if (shown[i])
      record_unref(shown[i]);
  return 0;
}
