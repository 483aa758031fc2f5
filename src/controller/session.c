/* The conversation with the clone: a local one is forked, a paired one is dialled. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "augmenter/session.h"
#include "base/error.h"
#include "base/io.h"
#include "controller/controller.h"
#include "controller/keeper.h"
#include "controller/learned.h"
#include "controller/session.h"
#include "identity/paired.h"

enum { HELLO_MS = 20000 };

static gboolean
is_local(const Controller *controller)
{
  const char *clone = controller->options->clone;
  return !clone || strcmp(clone, "local") == 0;
}

/* ---- the local clone ---- */

G_NORETURN
static void
become_augmenter(Controller *controller, int fd)
{
  g_autofree char *directory = identity_directory();
  g_autofree char *tmp = g_build_filename(directory, "sessions", NULL);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0); /* what the terminal sends is for the program */
  sigprocmask(SIG_SETMASK, &controller->former_mask, NULL);
  /* Nothing of the device's is held open here: a pipe that the program closes is to be closed. */
  int link_fd = 3, null = open("/dev/null", O_RDWR);
  if (fd != link_fd)
    dup3(fd, link_fd, O_CLOEXEC);
  dup2(null, 0);
  dup2(null, 1);
  if (!controller->options->explain)
    dup2(null, 2);
  syscall(SYS_close_range, link_fd + 1, ~0u, 0);
  prctl(PR_SET_NAME, "doppel-augment");
  g_autoptr(Link) link = link_new_local(link_fd);
  AugmenterSession session = {.root = "/", .tmp = tmp, .clone_name = "local", .control_fd = -1};
  int status = augmenter_session(link, &session);
  g_clear_pointer(&link, link_free);
  _exit(status);
}

static gboolean
open_local(Controller *controller, GError **error)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
    return doppel_error_errno(error, "making a socket pair");
  controller->augmenter = fork();
  if (controller->augmenter < 0) {
    close(ends[0]);
    close(ends[1]);
    return doppel_error_errno(error, "starting the local clone");
  }
  if (controller->augmenter == 0)
    become_augmenter(controller, ends[1]);
  close(ends[1]);
  controller->link = link_new_local(ends[0]);
  return TRUE;
}

/* Functions wait for their blocks: they are worth a connection without a process in between. */
static gboolean
may_be_kept(const Controller *controller)
{
  return controller->options->whole && controller->options->keep_s > 0 && !controller->options->reach &&
         !controller->sessions_failed;
}

static gboolean
open_paired(Controller *controller, GError **error)
{
  const RunOptions *run = controller->options;
  if (run->reach) {
    controller->link = run->reach(run->reach_data, error);
    return controller->link != NULL;
  }
  controller->link = may_be_kept(controller) ? keeper_take(controller->options->clone) : NULL;
  controller->kept = controller->link != NULL;
  if (controller->kept) {
    explain(controller, "a session with %s was kept ready", controller->options->clone);
    return TRUE;
  }
  g_autoptr(PairedClone) clone = paired_find(controller->options->clone, error);
  g_autoptr(IdentityKey) own = clone ? identity_device_key(error) : NULL;
  if (!own)
    return FALSE;
  LinkOptions options = LINK_OPTIONS_DEFAULT;
  options.resume_ms = controller->options->resume_ms;
  controller->link =
      link_dial_later((const char *const *)clone->addresses, own, &clone->key, clone->id, &options, error);
  return controller->link != NULL;
}

/* ---- hello ---- */

static gboolean
unexpected(const EngineMessage *message, GError **error)
{
  if (message->kind_case == DOPPEL__ENGINE__MESSAGE__KIND_FAILURE)
    return doppel_error_set(error, DOPPEL_ERROR_FAILED, "the clone says: %s", message->failure->reason);
  return doppel_error_set(error, DOPPEL_ERROR_HOSTILE,
                          "the clone answered with a message '%s' at a wrong moment",
                          engine_message_name(message));
}

/* What a clone's processor offers is remembered, so that the next run need not wait for its word before the
 * program starts. */
static void
remember_features(Controller *controller, const char *features)
{
  g_autofree char *path = learned_features_path(controller->options->clone), *known = NULL;
  g_file_get_contents(path, &known, NULL, NULL);
  if (g_strcmp0(known, features) != 0)
    g_file_set_contents(path, features, -1, NULL);
}

gboolean
session_hello(Controller *controller, const Doppel__Engine__Hello *hello, GError **error)
{
  controller->greeted = TRUE;
  timeline_hello(controller);
  if (hello->version != ENGINE_VERSION)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "the clone speaks version %u, this is version %u: update the older",
                            hello->version, ENGINE_VERSION);
  if (strcmp(hello->architecture, arch_name) != 0)
    return doppel_error_set(error, DOPPEL_ERROR_UNSUPPORTED,
                            "the clone's processor is %s, this one is %s: no mirror is possible",
                            hello->architecture, arch_name);
  if (!is_local(controller))
    remember_features(controller, hello->features);
  pages_hello(controller, hello);
  g_autofree char *own = arch_features();
  g_autofree char *mask = arch_features_mask(own, hello->features);
  /* Once the program runs it has chosen its code. */
  if (controller->process && mask && g_strcmp0(mask, controller->features_mask) != 0)
    return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                            "the clone's processor lacks what this one has (%s)", mask);
  if (!controller->process) {
    g_free(controller->features_mask);
    controller->features_mask = g_steal_pointer(&mask);
  }
  return TRUE;
}

static gboolean
wait_for_hello(Controller *controller, GError **error)
{
  g_autoptr(EngineMessage) answer = engine_wait(controller->link, HELLO_MS, error);
  if (!answer)
    return FALSE;
  if (answer->kind_case != DOPPEL__ENGINE__MESSAGE__KIND_HELLO)
    return unexpected(answer, error);
  return session_hello(controller, answer->hello, error);
}

static gint64
clock_ns(clockid_t clock)
{
  struct timespec now;
  clock_gettime(clock, &now);
  return (gint64)now.tv_sec * 1000000000 + now.tv_nsec;
}

gboolean
session_prepare(Link *link, GError **error)
{
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  Doppel__Engine__Prepare prepare = DOPPEL__ENGINE__PREPARE__INIT;
  prepare.host_name = host;
  prepare.monotonic_ns = clock_ns(CLOCK_MONOTONIC);
  prepare.boottime_ns = clock_ns(CLOCK_BOOTTIME);
  prepare.uid = geteuid();
  prepare.gid = getegid();
  return ENGINE_SEND(link, PREPARE, prepare, &prepare, error);
}

/* With a clone that is known the answer is not waited for: it is checked when it comes. */
static gboolean
greet(Controller *controller, GError **error)
{
  g_autofree char *own = arch_features(), *known = NULL;
  Doppel__Engine__Hello hello = DOPPEL__ENGINE__HELLO__INIT;
  hello.version = ENGINE_VERSION;
  hello.architecture = (char *)arch_name;
  hello.features = own;
  if (!ENGINE_SEND(controller->link, HELLO, hello, &hello, error) ||
      (!controller->kept && !session_prepare(controller->link, error)))
    return FALSE;
  if (is_local(controller))
    return TRUE;
  g_autofree char *path = learned_features_path(controller->options->clone);
  if (!g_file_get_contents(path, &known, NULL, NULL))
    return wait_for_hello(controller, error);
  if (!controller->process) {
    g_free(controller->features_mask);
    controller->features_mask = arch_features_mask(own, known);
  }
  return TRUE;
}

static void
observe(void *user, const EngineMessage *message, gsize length, gboolean out, guint waiting)
{
  Controller *controller = user;
  traffic_count(&controller->meter, message, length, out ? TRAFFIC_OUT : TRAFFIC_IN, waiting);
  timeline_wire(controller);
}

static gboolean
open_once(Controller *controller, GError **error)
{
  controller->kept = controller->greeted = FALSE;
  gint64 began = controller->timeline.dialled_ns = timeline_now(controller);
  if (!(is_local(controller) ? open_local(controller, error) : open_paired(controller, error)))
    return FALSE;
  controller_count_from_here(controller);
  if (controller->options->stats || controller->options->trace)
    engine_observe(controller->link, observe, controller);
  gboolean greeted = greet(controller, error);
  timeline_session(controller, greeted ? "open" : "fail to open", began);
  if (greeted)
    return TRUE;
  session_close(controller);
  return FALSE;
}

gboolean
session_open(Controller *controller, GError **error)
{
  g_autoptr(GError) why = NULL;
  if (controller->link)
    return TRUE;
  if (controller->why_no_session)
    return doppel_error_set(error, DOPPEL_ERROR_GONE, "%s", controller->why_no_session);
  if (open_once(controller, &why))
    return TRUE;
  /* That a kept session has ended unnoticed says nothing of a new one. */
  if (controller->kept) {
    explain(controller, "the session that was kept is of no use: %s", why->message);
    controller->sessions_failed++;
    return open_once(controller, error);
  }
  g_propagate_error(error, g_steal_pointer(&why));
  return FALSE;
}

/* ---- the mirror ---- */

static void
bytes_of(ProtobufCBinaryData *to, char *text)
{
  to->data = (guint8 *)text;
  to->len = strlen(text);
}

static ProtobufCBinaryData *
bytes_list(char **texts, gsize *count)
{
  *count = g_strv_length(texts);
  ProtobufCBinaryData *list = g_new(ProtobufCBinaryData, *count + 1);
  for (gsize i = 0; i < *count; i++)
    bytes_of(&list[i], texts[i]);
  return list;
}

/* The primary's arguments and environment as it was started with them. */
static char **
read_vector(MirrorProcess *process, const char *name)
{
  g_auto(Fd) fd = openat(process->directory, name, O_RDONLY | O_CLOEXEC);
  GPtrArray *list = g_ptr_array_new();
  g_autoptr(GByteArray) all = g_byte_array_new();
  guint8 piece[65536];
  ssize_t got;
  while (fd >= 0 && (got = read(fd, piece, sizeof piece)) > 0)
    g_byte_array_append(all, piece, got);
  for (guint at = 0; at < all->len;) {
    const char *text = (const char *)all->data + at;
    gsize length = strnlen(text, all->len - at);
    g_ptr_array_add(list, g_strndup(text, length));
    at += length + 1;
  }
  g_ptr_array_add(list, NULL);
  return (char **)g_ptr_array_free(list, FALSE);
}

static guint64
status_field(MirrorProcess *process, const char *field, int base)
{
  g_autofree char *status = io_read_file_at(process->directory, "status", 1 << 16);
  const char *line = status ? strstr(status, field) : NULL;
  return line ? g_ascii_strtoull(line + strlen(field), NULL, base) : 0;
}

static gsize
read_limits(Controller *controller, Doppel__Engine__Limit *limits, Doppel__Engine__Limit **list)
{
  gsize count = 0;
  for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
    struct rlimit limit;
    if (prlimit(controller->pid, resource, NULL, &limit) < 0)
      continue;
    doppel__engine__limit__init(&limits[count]);
    limits[count].resource = resource;
    limits[count].soft = limit.rlim_cur;
    limits[count].hard = limit.rlim_max;
    list[count] = &limits[count];
    count++;
  }
  return count;
}

static GArray *
read_processors(pid_t pid)
{
  GArray *list = g_array_new(FALSE, FALSE, sizeof(guint32));
  cpu_set_t set;
  if (sched_getaffinity(pid, sizeof set, &set) == 0)
    for (guint32 number = 0; number < CPU_SETSIZE; number++)
      if (CPU_ISSET(number, &set))
        g_array_append_val(list, number);
  return list;
}

static gboolean
send_start(Controller *controller, GError **error)
{
  MirrorProcess *process = controller->process;
  g_auto(GStrv) arguments = read_vector(process, "cmdline");
  g_auto(GStrv) variables = read_vector(process, "environ");
  char directory[4096] = "";
  Doppel__Engine__Limit limits[RLIM_NLIMITS], *limit_list[RLIM_NLIMITS];
  gid_t groups[1024];
  int group_count = getgroups(G_N_ELEMENTS(groups), groups);
  if (readlinkat(process->directory, "cwd", directory, sizeof directory - 1) < 0)
    return doppel_error_errno(error, "reading the program's working directory");
  Doppel__Engine__Start start = DOPPEL__ENGINE__START__INIT;
  g_autofree ProtobufCBinaryData *argument_list = bytes_list(arguments, &start.n_argument);
  g_autofree ProtobufCBinaryData *variable_list = bytes_list(variables, &start.n_environment);
  start.path = controller->program;
  start.argument = argument_list;
  start.environment = variable_list;
  bytes_of(&start.directory, directory);
  start.pid = process->own_pid;
  start.uid = geteuid();
  start.gid = getegid();
  start.n_group = MAX(group_count, 0);
  start.group = groups;
  start.umask = status_field(process, "\nUmask:", 8);
  start.n_limit = read_limits(controller, limits, limit_list);
  start.limit = limit_list;
  g_autoptr(GArray) processors = read_processors(process->pid);
  start.n_processor = processors->len;
  start.processor = (guint32 *)(void *)processors->data;
  start.track = (char *)mirror_track_name(controller->options->track);
  start.whole = controller->options->whole;
  start.check = controller->options->check;
  start.has_lazy_return = TRUE;
  start.lazy_return = controller->late != NULL;
  start.has_without = TRUE;
  start.without = controller->options->without;
  start.signals_ignored = status_field(process, "\nSigIgn:", 16);
  start.signals_blocked = 0;
  g_autoptr(GPtrArray) expected = device_files_expected(controller->files);
  start.n_told = expected->len;
  start.told = (Doppel__Engine__Told **)expected->pdata;
  return ENGINE_SEND(controller->link, START, start, &start, error);
}

gboolean
session_start(Controller *controller, GError **error)
{
  if (controller->started)
    return TRUE;
  if (!session_open(controller, error))
    return FALSE;
  const char *clone = is_local(controller) ? "local" : controller->options->clone;
  gint64 began = controller->timeline.ordered_ns = timeline_now(controller);
  controller->files =
      device_files_new(controller->link, clone, controller->program, is_local(controller), error);
  if (!controller->files || !send_start(controller, error))
    return FALSE;
  controller->twin = mirror_twin_new(controller->process, TRUE, controller->options->track, -1, error);
  if (!controller->twin)
    return FALSE;
  controller->twin->counts = controller_counts;
  if (!home_attach(controller, error))
    return FALSE;
  if (!is_local(controller))
    pages_open(controller);
  controller->twin->whole_pages = (controller->options->without & RUN_WITHOUT_CHANGES) != 0;
  timeline_session(controller, "order the mirror", began);
  controller->started = TRUE;
  controller->block = 0;
  return TRUE;
}

gboolean
session_started(Controller *controller, const Doppel__Engine__Started *started, GError **error)
{
  timeline_started(controller, started);
  for (gsize i = 0; i < started->n_note; i++)
    explain(controller, "the clone: %s", started->note[i]);
  return !started->n_mountpoint || device_files_started(controller->files, started, error);
}

void
session_keep(Controller *controller)
{
  if (!is_local(controller) && may_be_kept(controller) && controller->started && !controller->kept)
    keeper_start(controller->options->clone, controller->options->keep_s);
}

/* A run that has outlived the pairing leaves nothing of it. */
static void
forget_unpaired(Controller *controller)
{
  g_autoptr(GError) error = NULL;
  if (is_local(controller) || controller->options->reach || !controller->started)
    return;
  g_autoptr(PairedClone) clone = paired_find(controller->options->clone, &error);
  if (g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_NOT_FOUND))
    learned_forget(controller->options->clone, NULL);
}

void
session_close(Controller *controller)
{
  timeline_session_ends(controller);
  if (controller->files) {
    g_autofree char *summary = device_files_summary(controller->files);
    explain(controller, "%s", summary);
  }
  g_clear_pointer(&controller->files, device_files_free);
  pages_close(controller);
  forget_unpaired(controller);
  controller->store_known = FALSE;
  if (controller->link) {
    Doppel__Engine__Bye bye = DOPPEL__ENGINE__BYE__INIT;
    if (link_state(controller->link) == LINK_UP)
      ENGINE_SEND(controller->link, BYE, bye, &bye, NULL);
    g_clear_pointer(&controller->link, link_free);
  }
  if (controller->augmenter > 0) {
    /* It ends with its end of the link, and its sandbox with it; nobody waits for that here but the process
     * table. */
    int status;
    for (int i = 0; i < 200 && waitpid(controller->augmenter, &status, WNOHANG) == 0; i++)
      g_usleep(500);
    if (waitpid(controller->augmenter, &status, WNOHANG) == 0) {
      kill(controller->augmenter, SIGKILL);
      waitpid(controller->augmenter, &status, 0);
    }
    controller->augmenter = 0;
  }
  controller->started = FALSE;
  home_detach(controller);
  g_clear_pointer(&controller->twin, mirror_twin_free);
}
