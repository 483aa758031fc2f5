/* Many users of one directory, for the tests and for a look at what it bears:
 *   directory-user register|find|keep ADDRESS=KEY FIRST COUNT THREADS
 * User N has keys that follow from N and is called "userN". register prints "N NUMBER" for each as soon as it
 * is accepted; find prints nothing. keep registers each over a connection of its clone's own, says "kept",
 * and for each line of standard input (to the end) has all of them ask over these connections, of which a
 * part is made anew each time, and says "asked COUNT". Ends with a line "# COUNT in SECONDS s: RATE/s, K
 * failed". Exit status 0 where all were done. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "c2c/directory_call.h"

#define KEYS       8 /* of a user */
#define CONNECT_MS 20000
#define ANSWER_MS  30000

typedef struct {
  DirectoryPlace *place;
  gboolean find;
  guint first, count, step;
  guint done, failed;
} Work;

static IdentityKey *
key_of(guint user, guint which)
{
  guint numbers[2] = {user + 1, which};
  guint8 seed[IDENTITY_SEED_LENGTH] = {0};
  memcpy(seed, numbers, sizeof numbers);
  return identity_key_from_seed(seed);
}

static Record *
record_of(guint user, const IdentityPublic *home, GError **error)
{
  static const char *const addresses[] = {"192.0.2.1:3677", NULL};
  gint64 now = clock_unix_time();
  g_autoptr(IdentityKey) origin = key_of(user, 0);
  g_autoptr(IdentityKey) recovery = key_of(user, 1);
  g_autoptr(IdentityKey) clone = key_of(user, 2);
  g_autoptr(IdentityKey) device = key_of(user, 3);
  g_autoptr(IdentityKey) provider = key_of(0, 4);
  g_autofree char *name = g_strdup_printf("user%u", user);
  RecordBinding binding = {.origin = *identity_key_public(origin),
                           .name = name,
                           .clone_key = *identity_key_public(clone),
                           .device = *identity_key_public(device),
                           .provider = *identity_key_public(provider),
                           .directory = *home,
                           .serial = 1,
                           .issued = now - 60,
                           .expires = now + 86400};
  memcpy(binding.clone, &user, sizeof user);
  g_autoptr(GBytes) root = record_sign_root(origin, identity_key_public(recovery));
  g_autoptr(GBytes) bound = record_sign_binding(origin, &binding);
  g_autoptr(GBytes) hosting = record_sign_hosting(provider, binding.clone, &binding.clone_key, now - 60);
  g_autoptr(GBytes) whereabouts = record_sign_whereabouts(clone, addresses, 1, now - 60, now + 3600);
  return record_assemble(root, NULL, 0, bound, hosting, whereabouts, error);
}

static DirectoryQuestion *
question_of(const Work *work, guint user, GError **error)
{
  g_autoptr(DirectoryQuestion) question =
      directory_question_new(work->find ? DIRECTORY_WHAT(LOOKUP) : DIRECTORY_WHAT(REGISTER));
  if (work->find) {
    g_free(question->name);
    question->name = g_strdup_printf("user%u", user);
    return g_steal_pointer(&question);
  }
  g_autoptr(Record) record = record_of(user, &work->place->key, error);
  if (!record)
    return NULL;
  question->record = g_bytes_ref(record->bytes);
  return g_steal_pointer(&question);
}

static gboolean
ask(DirectoryCall *call, const Work *work, guint user, GError **error)
{
  g_autoptr(DirectoryQuestion) question = question_of(work, user, error);
  g_autoptr(DirectoryAnswer) answer =
      question ? directory_call_ask(call, question, ANSWER_MS, NULL, error) : NULL;
  if (!answer)
    return FALSE;
  if (answer->status != DIRECTORY_STATUS(OK))
    return directory_answer_refusal(answer, work->place->address, error);
  if (work->find)
    return TRUE;
  /* One write: lines of threads are whole. */
  g_autofree char *line = g_strdup_printf("%u %" G_GUINT64_FORMAT "\n", user, answer->number);
  fputs(line, stdout);
  fflush(stdout);
  return TRUE;
}

static gpointer
do_work(gpointer data)
{
  Work *work = data;
  g_autoptr(IdentityKey) own = key_of(work->first, 5);
  g_autoptr(DirectoryCall) call = NULL;
  for (guint i = 0; i < work->count; i++) {
    g_autoptr(GError) error = NULL;
    if (!call)
      call = directory_call_new(work->place, own, NULL, CONNECT_MS, &error);
    if (call && ask(call, work, work->first + i * work->step, &error)) {
      work->done++;
      continue;
    }
    if (++work->failed == 1)
      fprintf(stderr, "%s\n", error->message);
    g_clear_pointer(&call, directory_call_free);
  }
  return NULL;
}

/* Many clones behind one address, each with a connection that it keeps. */

#define ANEW 8 /* of so many connections one is made anew in a round */

typedef struct {
  IdentityKey *own;
  DirectoryAsker asker;
  DirectoryCall *call;
} Clone;

static gboolean
connect_clone(const Work *work, Clone *clone, GError **error)
{
  g_clear_pointer(&clone->call, directory_call_free);
  clone->call = directory_call_new(work->place, clone->own, &clone->asker, CONNECT_MS, error);
  return clone->call != NULL;
}

/* Until it succeeds: who is not registered yet shares what the address may do. */
static gboolean
register_clone(Work *work, guint user, Clone *clone)
{
  gint64 limit = clock_now_ns() + G_GINT64_CONSTANT(120000000000);
  g_autoptr(Record) record = record_of(user, &work->place->key, NULL);
  clone->own = key_of(user, 2);
  clone->asker = (DirectoryAsker){.has_origin = TRUE, .origin = record->origin};
  for (;;) {
    g_autoptr(GError) error = NULL;
    if (connect_clone(work, clone, &error) && ask(clone->call, work, user, &error) &&
        directory_call_pass(clone->call, &clone->asker.pass))
      return TRUE;
    if (clock_now_ns() > limit) {
      fprintf(stderr, "user%u: %s\n", user, error ? error->message : "there was no pass");
      return FALSE;
    }
    g_usleep(20000);
  }
}

static void
ask_round(Work *work, Clone *clones, guint round)
{
  guint answered = 0;
  for (guint i = 0; i < work->count; i++) {
    g_autoptr(GError) error = NULL;
    if ((i % ANEW != round % ANEW || connect_clone(work, &clones[i], &error)) &&
        ask(clones[i].call, work, work->first + i, &error)) {
      answered++;
      continue;
    }
    fprintf(stderr, "user%u, round %u: %s\n", work->first + i, round, error->message);
    work->failed++;
    if (!connect_clone(work, &clones[i], NULL))
      break;
  }
  printf("asked %u\n", answered);
  fflush(stdout);
}

static int
keep(Work *work)
{
  g_autofree Clone *clones = g_new0(Clone, work->count);
  char line[80];
  work->step = 1;
  for (guint i = 0; i < work->count; i++)
    if (!register_clone(work, work->first + i, &clones[i]))
      return 1;
  puts("kept");
  fflush(stdout);
  work->find = TRUE;
  for (guint round = 0; fgets(line, sizeof line, stdin); round++)
    ask_round(work, clones, round);
  for (guint i = 0; i < work->count; i++) {
    directory_call_free(clones[i].call);
    identity_key_free(clones[i].own);
  }
  return work->failed > 0;
}

int
main(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(DirectoryPlace) place = argc == 6 ? directory_place_parse(argv[2], &error) : NULL;
  if (!place) {
    fprintf(stderr, "usage: directory-user register|find|keep ADDRESS=KEY FIRST COUNT THREADS: %s\n",
            error ? error->message : "");
    return 2;
  }
  guint first = (guint)atoi(argv[3]), count = (guint)atoi(argv[4]), threads = (guint)atoi(argv[5]);
  if (strcmp(argv[1], "keep") == 0)
    return keep(&(Work){.place = place, .first = first, .count = count});
  g_autofree Work *work = g_new0(Work, threads);
  g_autofree GThread **running = g_new0(GThread *, threads);
  gint64 began = clock_now_ns();
  for (guint i = 0; i < threads; i++) {
    work[i] = (Work){.place = place,
                     .find = strcmp(argv[1], "find") == 0,
                     .first = first + i,
                     .count = count / threads + (i < count % threads),
                     .step = threads};
    running[i] = g_thread_new("user", do_work, &work[i]);
  }
  guint done = 0, failed = 0;
  for (guint i = 0; i < threads; i++) {
    g_thread_join(running[i]);
    done += work[i].done;
    failed += work[i].failed;
  }
  double seconds = (double)(clock_now_ns() - began) / 1e9;
  printf("# %u in %.2f s: %.0f/s, %u failed\n", done, seconds, done / seconds, failed);
  return failed ? 1 : 0;
}
