/* What a directory does with the questions of whoever asks: registrations in any order, true and forged ones,
 * reads of what is there. Between them the list must keep its promises: it only grows, nobody is replaced by
 * less, a name has one holder, and what it signs holds before everybody. */
#include <string.h>

#include "base/clock.h"
#include "c2c/directory_work.h"
#include "people.h"

#define STEPS 40

typedef struct {
  DirectoryServer *server; /* answers nothing itself: whose key and providers are asked for */
  DirectoryStore *store;
  DirectoryJudge judge;
  DirectoryState state;
  Record *kept[PEOPLE];
  Input input;
} World;

static void
demand(gboolean holds)
{
  if (!holds)
    __builtin_trap();
}

static DirectoryServer *
only_server(void)
{
  static DirectoryServer *server;
  DirectoryServerOptions options = {.key = people_home(0), .store = "sqlite:/server"};
  if (!server)
    server = directory_server_new(&options, NULL, NULL);
  demand(server != NULL);
  return server;
}

static const DirectoryHandler *
handler_of(DirectoryWhat what)
{
  for (guint i = 0; i < directory_handlers_count; i++)
    if (directory_handlers[i].what == what)
      return &directory_handlers[i];
  return NULL;
}

/* As the threads of directory_work.c do it. */
static void
run(World *world, DirectoryTask *task)
{
  const DirectoryHandler *handler = task->handler;
  g_autoptr(GArray) registered = g_array_new(FALSE, FALSE, sizeof(DirectoryPut));
  DirectoryState state;
  demand(directory_store_state(world->store, &state, NULL));
  if (!handler->verify) {
    demand(handler->read(task, world->store, &state, NULL));
    return;
  }
  if (!handler->verify(task))
    return;
  directory_judge_all(&world->judge, task->candidates, registered);
  handler->judged(task);
  for (guint i = 0; i < registered->len; i++)
    record_unref(g_array_index(registered, DirectoryPut, i).record);
}

/* The list as it was and more. */
static void
check_state(World *world)
{
  DirectoryState now, then = world->state;
  demand(directory_store_state(world->store, &now, NULL) && now.number >= then.number);
  while (then.number < now.number) {
    g_autoptr(GPtrArray) entries = directory_store_changes(world->store, then.number, 1, NULL);
    demand(entries && entries->len > 0);
    for (guint i = 0; i < entries->len; i++)
      directory_chain_extend(&then, ((const DirectoryEntry *)entries->pdata[i])->hash);
  }
  demand(directory_state_equal(&then, &now));
  world->state = now;
}

static void
check_users(World *world)
{
  for (guint i = 0; i < PEOPLE; i++) {
    g_autoptr(DirectoryRow) row = NULL;
    int found = directory_store_get(world->store, people_origin(i), &row, NULL);
    demand(found >= 0 && (found > 0 || !world->kept[i]));
    if (found == 0)
      continue;
    gsize length;
    const void *bytes = g_bytes_get_data(row->record, &length);
    g_autoptr(Record) record = record_decode(bytes, length, people_origin(i), NULL);
    demand(record && identity_public_equal(&record->directory, identity_key_public(people_home(0))));
    demand(!world->kept[i] || memcmp(world->kept[i]->hash, record->hash, sizeof record->hash) == 0 ||
           record_supersedes(record, world->kept[i]));
    g_autoptr(GArray) holders = directory_store_find(world->store, record->name, &record->directory, NULL);
    demand(holders && holders->len == 1);
    g_clear_pointer(&world->kept[i], record_unref);
    world->kept[i] = g_steal_pointer(&record);
  }
}

/* What a client checks. */
static void
check_answer(World *world, const DirectoryTask *task)
{
  g_autoptr(GBytes) bytes = directory_answer_encode(task->answer);
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DirectoryAnswer) answer = directory_answer_decode(data, length, NULL);
  const IdentityPublic *own = identity_key_public(people_home(0));
  g_auto(DirectoryHead) head = {0};
  demand(answer && (!answer->head.statement || directory_head_verify(&answer->head, own, &head, NULL)));
  if (answer->found.statement) {
    g_autoptr(DirectoryFound) found = directory_found_verify(&answer->found, own, task->question, NULL);
    demand(found && (found->records->len == 0 || answer->status == DIRECTORY_STATUS(OK)));
  }
  for (guint i = 0; i < answer->updates->len; i++) {
    g_autoptr(Record) record =
        directory_update_verify(&g_array_index(answer->updates, DirectorySigned, i), NULL, NULL, NULL);
    demand(record != NULL);
  }
  demand(answer->status != DIRECTORY_STATUS(FAILED));
}

static void
ask(World *world, GBytes *bytes)
{
  gsize length;
  const void *data = g_bytes_get_data(bytes, &length);
  g_autoptr(DirectoryQuestion) question = directory_question_decode(data, length, NULL);
  const DirectoryHandler *handler = question ? handler_of(question->what) : NULL;
  if (!handler)
    return;
  DirectoryTask *task = g_new0(DirectoryTask, 1);
  task->server = world->server;
  task->handler = handler;
  task->question = g_steal_pointer(&question);
  run(world, task);
  demand(task->answer != NULL);
  check_answer(world, task);
  directory_task_free(task);
  check_state(world);
  check_users(world);
}

/* A record that is true, or true but for a byte. */
static GBytes *
some_record(Input *input)
{
  gsize length;
  const guint8 *bytes = g_bytes_get_data(people_any_record(input)->bytes, &length);
  g_autofree guint8 *copy = g_memdup2(bytes, length);
  if (input_below(input, 4) == 0)
    copy[input_number(input, 2) % length] ^= input_number(input, 1);
  return g_bytes_new_take(g_steal_pointer(&copy), length);
}

static IdentityPublic
some_key(Input *input)
{
  guint which = input_below(input, PEOPLE + PEOPLE_HOMES + 1);
  IdentityPublic key = {{0}};
  if (which < PEOPLE)
    return *people_origin(which);
  if (which < PEOPLE + PEOPLE_HOMES)
    return *identity_key_public(people_home(which - PEOPLE));
  key.bytes[0] = input_number(input, 1);
  return key;
}

static guint64
some_number(Input *input)
{
  guint choice = input_below(input, 8);
  return choice < 7 ? choice : input_number(input, 8);
}

static void
ask_something(World *world)
{
  static const DirectoryWhat kinds[] = {
      DIRECTORY_WHAT(REGISTER), DIRECTORY_WHAT(REGISTER), DIRECTORY_WHAT(REGISTER), DIRECTORY_WHAT(LOOKUP),
      DIRECTORY_WHAT(LIST),     DIRECTORY_WHAT(CHANGES),  DIRECTORY_WHAT(HEAD),     DIRECTORY_WHAT(FETCH)};
  Input *input = &world->input;
  g_autoptr(DirectoryQuestion) question =
      directory_question_new(kinds[input_below(input, G_N_ELEMENTS(kinds))]);
  question->id = some_number(input);
  question->number = some_number(input);
  question->bytes = (guint32)(some_number(input) % (DIRECTORY_BULK + 1));
  question->count = 1 + input_below(input, 8);
  question->by_origin = input_below(input, 2);
  question->has_home = input_below(input, 2);
  question->home = some_key(input);
  if (question->by_origin || question->what == DIRECTORY_WHAT(LIST))
    question->origin = some_key(input);
  if (question->what == DIRECTORY_WHAT(LOOKUP) && !question->by_origin) {
    g_free(question->name);
    question->name = g_strdup(input_below(input, 4) ? people_name(input_below(input, PEOPLE)) : "zoe");
  }
  if (question->what == DIRECTORY_WHAT(REGISTER))
    question->record = some_record(input);
  if (question->what == DIRECTORY_WHAT(FETCH)) {
    question->origins = g_array_new(FALSE, FALSE, sizeof(IdentityPublic));
    for (guint left = 1 + input_below(input, 8); left > 0; left--) {
      IdentityPublic key = some_key(input);
      g_array_append_val(question->origins, key);
    }
  }
  g_autoptr(GBytes) bytes = directory_question_encode(question);
  ask(world, bytes);
}

static void
ask_bytes(World *world)
{
  gsize length;
  const guint8 *bytes = input_blob(&world->input, &length);
  g_autoptr(GBytes) question = g_bytes_new(bytes, length);
  ask(world, question);
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize length)
{
  people_files_in_memory();
  World world = {.server = only_server(), .input = {data, length}};
  world.store = directory_store_open("sqlite:/directory", NULL);
  demand(world.store != NULL);
  directory_judge_init(&world.judge, world.store, identity_key_public(people_home(0)));
  for (guint i = 0; i < STEPS && world.input.left > 0; i++)
    (input_below(&world.input, 8) ? ask_something : ask_bytes)(&world);
  directory_judge_clear(&world.judge);
  directory_store_close(world.store);
  for (guint i = 0; i < PEOPLE; i++)
    if (world.kept[i])
      record_unref(world.kept[i]);
  return 0;
}
