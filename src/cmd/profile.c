/* doppel profile: what a program does, found out in the clone. */
#include "cmd/profile.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/io.h"
#include "base/line.h"
#include "cmd/clone_where.h"
#include "cmd/cmd.h"
#include "cmd/profile_observe.h"
#include "plan/store.h"
#include "profile/store.h"
#include "replicator/job_client.h"

enum { SECONDS = 600, TOP = 10, TOP_MAX = 100000, SAID_LINE = 300, OBSERVED = 8 };

/* A run of which calls are off-loaded takes so many times what it takes alone, and so many seconds more. */
enum { SLOWER = 20, MORE_S = 20 };

static const char summary[] =
    "Runs PROGRAM in the clone under valgrind, and keeps what it was seen to do there: its functions, who "
    "calls whom, how\noften, at what cost. \"doppel plan\" decides from that which functions to off-load.\n\n"
    "The program reads what it would read: the clone's copies of this device's files, and standard input "
    "where that is a\nfile. What it does to files is thrown away, as is what it writes, but for --output. It "
    "runs once or a few times\nalone, to see how long it takes, then about fifty times more slowly, and last "
    "with "
    "functions off-loaded, all in the\nclone, to see what that moves. This device only waits.";

static const char notes[] =
    "Profiles add up over runs: profile a program with the inputs that you will give it. A profile goes "
    "stale "
    "when the program\nor a library of it changes. Processes that the program forks and programs that it "
    "executes are not in its profile:\nprofile these by themselves. The clone's host needs valgrind.\n\n"
    "Examples:\n"
    "  doppel profile -- sqlite3 big.db 'SELECT ...'\n"
    "  doppel profile --clone desk -- gzip -c < big.txt\n"
    "  doppel profile --time 3600 -- simulate input       of what takes longer, the beginning\n"
    "  doppel profile --list\n"
    "  doppel profile --forget sqlite3\n"
    "\n"
    "Exit status: 0 where a profile was kept, 1 where not, 2 for a wrong command line.";

/* ---- what is to run ---- */

/* What the kernel loads: of a script, what its first line says. NULL with an error. */
static char *
find_loaded(const char *path, GError **error)
{
  char line[257] = "";
  g_auto(Fd) fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0 || read(fd, line, sizeof line - 1) < 0) {
    doppel_error_errno(error, "cannot read %s", path);
    return NULL;
  }
  if (strncmp(line, "#!", 2) != 0)
    return g_strdup(path);
  const char *name = line + 2 + strspn(line + 2, " \t");
  return g_strndup(name, strcspn(name, " \t\n"));
}

static ProfileObject *
read_program(const JobRequest *request, GError **error)
{
  g_autofree char *path = g_strndup((const char *)request->path.data, request->path.len);
  g_autofree char *loaded = find_loaded(path, error);
  return loaded ? profile_object_read(loaded, error) : NULL;
}

/* A file that is this process's standard input is the clone's program's too, from where it is read. */
static void
set_input(ProfilerStart *start, GPtrArray *remarks)
{
  struct stat own, named;
  char path[4096];
  ssize_t length = readlink("/proc/self/fd/0", path, sizeof path - 1);
  if (fstat(0, &own) < 0 || isatty(0) || S_ISCHR(own.st_mode))
    return;
  path[MAX(length, 0)] = '\0';
  if (!S_ISREG(own.st_mode) || length <= 0 || stat(path, &named) < 0 || named.st_ino != own.st_ino ||
      named.st_dev != own.st_dev) {
    g_ptr_array_add(remarks, g_strdup("its standard input is no file that the clone could have: it had "
                                      "nothing to read there. Write it to a file and use < FILE"));
    return;
  }
  off_t offset = lseek(0, 0, SEEK_CUR);
  start->input = (ProtobufCBinaryData){(gsize)length, (guint8 *)g_strdup(path)};
  start->input_offset = (guint64)MAX(offset, 0);
}

/* ---- while it runs ---- */

static void
say_progress(const Doppel__Wire__ProfilerProgress *progress, gpointer user)
{
  static const char *const what[] = {"alone", "under valgrind, which is slow", "watched"};
  fprintf(stderr, "\rdoppel profile: %.0f s in the clone, %s\033[K", (double)progress->elapsed_ms / 1e3,
          what[progress->run]);
}

static void
show_output(guint stream, const guint8 *bytes, gsize length, gpointer user)
{
  io_write_all(stream == 2 ? 2 : 1, bytes, length);
}

/* ---- what came of it ---- */

/* The last line that it wrote to standard error, for a message; "" for none. */
static char *
last_words(const ProfilerRan *ran)
{
  g_autofree char *text = g_strndup((const char *)ran->said.data, ran->said.len);
  g_strchomp(text);
  const char *last = strrchr(text, '\n');
  g_autofree char *line = line_of(last ? last + 1 : text, SAID_LINE);
  return *line ? g_strdup_printf("; the last that it wrote: %s", line) : g_strdup("");
}

static gboolean
fail_run(const ProfilerRan *ran, const char *how, GError **error)
{
  g_autofree char *words = last_words(ran);
  if (ran->signal)
    return doppel_error_set_foreign(error, DOPPEL_ERROR_FAILED, "%s of signal %u (%s)%s", how, ran->signal,
                                    strsignal((int)ran->signal), words);
  return doppel_error_set_foreign(error, DOPPEL_ERROR_FAILED, "%s with status %u%s", how, ran->status, words);
}

/* Whether what was counted is what the program does. */
static gboolean
judge(const ProfilerResult *result, GError **error)
{
  const ProfilerRan *alone = result->alone->ran, *profiled = result->profiled->ran;
  const char *reason = *alone->reason ? alone->reason : profiled->reason;
  g_autofree char *printable = line_of(reason, SAID_LINE);
  if (*reason)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "the program was ended in the clone: %s", printable);
  if (alone->signal && !alone->cut)
    return fail_run(alone, "the program dies in the clone, also without valgrind,", error);
  if (profiled->replaced)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "the program executed another program in its place (as scripts and wrappers do), "
                            "of which nothing was seen: profile that one");
  if (profiled->signal && !profiled->cut)
    return fail_run(profiled, "the program dies under valgrind", error);
  if (!profiled->profiled && profiled->cut)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                            "its time was over, and it would not end so that valgrind could write down what "
                            "it had seen: give it longer with --time");
  if (!profiled->profiled)
    return fail_run(profiled, "valgrind made no profile: the program ended", error);
  if (!profiled->cut && !alone->cut && profiled->status && !alone->status)
    return fail_run(profiled, "the program fails under valgrind: alone it ends with status 0, there", error);
  return TRUE;
}

static void
remark(const ProfilerResult *result, const ProfileOptions *options, GPtrArray *remarks)
{
  const ProfilerRan *alone = result->alone->ran, *profiled = result->profiled->ran;
  if (profiled->cut)
    g_ptr_array_add(remarks, g_strdup_printf("its time was over: this is what its first %d s under valgrind "
                                             "showed (--time SECONDS gives it longer)",
                                             options->seconds));
  if (profiled->children)
    g_ptr_array_add(remarks, g_strdup_printf("%u %s that it forked %s not in the profile", profiled->children,
                                             profiled->children == 1 ? "process" : "processes",
                                             profiled->children == 1 ? "is" : "are"));
  if (!profiled->cut && profiled->status)
    g_ptr_array_add(remarks, g_strdup_printf("it ended with status %u in the clone (alone with %u)",
                                             profiled->status, alone->status));
}

/* The profile, and what the engine saw. FALSE with an error. */
static gboolean
keep_profile(ProfileLearned *learned, GError **error)
{
  g_autofree char *path = plan_store_profiles_path(), *directory = g_path_get_dirname(path), *changed = NULL;
  g_mkdir_with_parents(directory, 0700);
  g_autoptr(ProfileStore) store = profile_store_open(path);
  if (!profile_store_add(store, learned->program, learned->graph))
    return doppel_error_set(error, DOPPEL_ERROR_FAILED,
                            "the profile could not be kept in %s: is the disk full, or the directory not "
                            "yours?",
                            path);
  g_autoptr(ProfileGraph) known = profile_store_find(store, learned->program, &changed);
  learned->runs = known ? known->runs : learned->graph->runs;
  g_autoptr(ProfileObserved) observed =
      learned->seen ? profile_observe_sums(learned->graph, learned->seen) : NULL;
  if (observed)
    profile_store_observe(store, learned->program, observed);
  return TRUE;
}

/* How fast the clone is, which plans are made with: those that were made know less. */
static void
keep_speed(const ProfileLearned *learned)
{
  g_autofree char *path = plan_store_path();
  g_autoptr(PlanStore) store = plan_store_open(path);
  double speed = profile_cmd_speed(learned);
  plan_store_forget(store, learned->program);
  if (speed > 0)
    plan_store_keep_program_speed(store, learned->clone, learned->program, learned->alone->cpu_ns / 1e9,
                                  (double)profile_graph_total(learned->graph));
  if (learned->alone->work_ns > 0)
    plan_store_keep_speed(store, learned->clone, learned->alone->work_ns);
}

/* ---- the verb ---- */

static gboolean
reach(const ProfileOptions *options, GError **error)
{
  if (!options->clone || strcmp(options->clone, "local") == 0)
    return TRUE;
  if (!options->as_is)
    return cmd_sync_again(options->clone, error);
  clone_where_check("profile", options->clone);
  return TRUE;
}

/* What the engine sees of its functions is worth having, and the profile good without it. */
static GPtrArray *
observe(ProfilerClient *client, const ProfilerResult *result, const ProfileOptions *options,
        const ProfilerWatcher *watcher, GPtrArray *remarks)
{
  g_autoptr(GError) problem = NULL;
  GPtrArray *seen = NULL;
  if (!options->observe || result->profiled->ran->cut)
    return NULL;
  g_autoptr(GArray) candidates = profile_observe_candidates(result->graph, (guint)options->observe);
  guint64 alone_s = result->alone->ran->wall_ns / G_GUINT64_CONSTANT(1000000000);
  guint seconds = (guint)MIN(MORE_S + alone_s * SLOWER, (guint64)options->seconds);
  if (!profile_observe(client, result->graph, candidates, seconds, watcher, &seen, &problem))
    g_ptr_array_add(
        remarks, g_strdup_printf("what the engine sees of its functions is not known: %s", problem->message));
  return seen;
}

static gboolean
profile(const ProfileOptions *options, char **argv, GError **error)
{
  g_autoptr(GPtrArray) remarks = g_ptr_array_new_with_free_func(g_free);
  g_autoptr(JobRequest) request = job_client_request(argv, error);
  g_autoptr(ProfileObject) program = request ? read_program(request, error) : NULL;
  if (!program || !reach(options, error))
    return FALSE;
  ProfilerStart start = DOPPEL__WIRE__PROFILER_START__INIT;
  start.program = request;
  start.seconds = (guint32)options->seconds;
  start.output = options->output;
  set_input(&start, remarks);
  g_autofree guint8 *input = start.input.data;
  gboolean terminal = isatty(STDERR_FILENO) && !options->output;
  const ProfilerWatcher watcher = {.progress = terminal ? say_progress : NULL,
                                   .output = options->output ? show_output : NULL};
  g_auto(ProfilerResult) result = {0};
  g_autoptr(ProfilerClient) client = profiler_client_open(options->clone, error);
  gboolean good = client && profiler_client_profile(client, program, &start, &watcher, &result, error) &&
                  judge(&result, error);
  g_autoptr(GPtrArray) seen = good ? observe(client, &result, options, &watcher, remarks) : NULL;
  if (terminal)
    fputs("\r\033[K", stderr);
  if (!good)
    return FALSE;
  ProfileLearned learned = {.program = program,
                            .clone = options->clone ? options->clone : PLAN_PLACE_LOCAL,
                            .alone = result.alone->ran,
                            .profiled = result.profiled->ran,
                            .graph = result.graph,
                            .bytes = result.bytes,
                            .notes = remarks,
                            .seen = seen};
  if (!keep_profile(&learned, error))
    return FALSE;
  keep_speed(&learned);
  remark(&result, options, remarks);
  profile_cmd_say(&learned, options);
  return TRUE;
}

static gboolean
check(const ProfileOptions *options, int words, GError **error)
{
  if (options->seconds < 1 || (guint)options->seconds > PROFILER_SECONDS_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--time takes seconds, 1 to %u", PROFILER_SECONDS_MAX);
  if (options->top < 0 || options->top > TOP_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--top takes a number, 0 to %d", TOP_MAX);
  if (options->observe < 0 || options->observe > (int)PROFILER_FUNCTIONS)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--observe takes a number, 0 to %u",
                            PROFILER_FUNCTIONS);
  if (options->output && options->json)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "--output and --json would be mixed on standard output: one of them");
  if ((options->list || options->forget) && words)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--list and --forget run no program");
  if (options->list && options->forget)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE, "--list or --forget, not both");
  return options->list || options->forget || words ||
         doppel_error_set(error, DOPPEL_ERROR_USAGE, "which program? (doppel profile --help)");
}

static void
options_clear(ProfileOptions *options)
{
  g_free(options->clone);
  g_free(options->forget);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ProfileOptions, options_clear)

static gboolean
parse(ProfileOptions *options, int *argc, char ***argv, GError **error)
{
  const GOptionEntry entries[] = {
      {"clone", 'c', 0, G_OPTION_ARG_STRING, &options->clone,
       "The clone to use: local (default), or one that is paired", "NAME"},
      {"time", 't', 0, G_OPTION_ARG_INT, &options->seconds,
       "Seconds that a run may take in the clone (600); what was seen until then counts", "SECONDS"},
      {"output", 'o', 0, G_OPTION_ARG_NONE, &options->output, "Show what the program writes", NULL},
      {"observe", 0, 0, G_OPTION_ARG_INT, &options->observe,
       "Functions that are off-loaded in the clone, to see what that moves (8; 0: none)", "N"},
      {"no-sync", 0, 0, G_OPTION_ARG_NONE, &options->as_is,
       "Over the clone's files as they are: not synchronised first", NULL},
      {"top", 'n', 0, G_OPTION_ARG_INT, &options->top, "Functions to print, the most expensive first (10)",
       "N"},
      {"json", 0, 0, G_OPTION_ARG_NONE, &options->json, "Print JSON", NULL},
      {"list", 'l', 0, G_OPTION_ARG_NONE, &options->list, "List the programs of which there is a profile",
       NULL},
      {"forget", 0, 0, G_OPTION_ARG_STRING, &options->forget, "Forget the profile of PROGRAM", "PROGRAM"},
      {NULL},
  };
  g_autoptr(GOptionContext) context = g_option_context_new("[--] PROGRAM [ARGUMENT...]");
  g_option_context_set_summary(context, summary);
  g_option_context_set_description(context, notes);
  g_option_context_set_strict_posix(context, TRUE);
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, argc, argv, error))
    return FALSE;
  if (*argc > 1 && strcmp((*argv)[1], "--") == 0)
    (*argv)++, (*argc)--;
  return check(options, *argc - 1, error);
}

int
cmd_profile(int argc, char **argv)
{
  g_autoptr(GError) error = NULL;
  g_auto(ProfileOptions) options = {.seconds = SECONDS, .top = TOP, .observe = OBSERVED};
  if (!parse(&options, &argc, &argv, &error))
    return cmd_fail("profile", error);
  if (options.list)
    return profile_cmd_list(&options);
  if (options.forget)
    return profile_cmd_forget(&options);
  return profile(&options, argv + 1, &error) ? 0 : cmd_fail("profile", error);
}
