/* One run of Clone2Clone's experiment with documents (section 5.2), in one of its two modes: so many devices,
 * each in a network namespace of its own behind a shaped link, one document, the real ordering server, and
 * the paper's four phases. Each device is a process, and each clone; the server, the clones and the other
 * ends of the links share the host's namespace. Prints one JSON object. bench/clonedoc runs it. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../tests/rig/network.h"
#include "../tests/rig/shaper.h"
#include "base/clock.h"
#include "base/io.h"
#include "doc_paper.h"

enum { LOOK_US = 30000, WAIT_S = 300, TO_ALL_US = 20000 };

static char *mode, *profile_name, *folder, *clonedocd, *callgrind;
static int count = 16, keys = 40, seed = 1, gap_ms = 200, part = -1;
static gboolean clone_part;
static char *server_key;

static NetworkRay rays[PAPER_DEVICES_MAX];
static Shaper *shapers[PAPER_DEVICES_MAX];
static int host_space, devices[PAPER_DEVICES_MAX], rooms[PAPER_DEVICES_MAX]; /* control sockets */
static gboolean sporc;

static void G_GNUC_NORETURN
die(const char *what, const char *why)
{
  fprintf(stderr, "doc_paper: %s mode: %s: %s\n", mode ? mode : "no", what, why ? why : "no reason is known");
  exit(1);
}

/* ---- processes */

static pid_t
start(int space, int control, char **command, int log)
{
  pid_t parent = getpid(), child = fork();
  if (child < 0)
    die("fork", g_strerror(errno));
  if (child > 0)
    return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || setns(space, CLONE_NEWNET) != 0)
    _exit(126);
  if (log >= 0)
    dup2(log, 2);
  if (control >= 0)
    dup2(control, PAPER_CONTROL);
  execv(command[0], command);
  _exit(127);
}

static void
start_server(void)
{
  g_autofree char *state = g_build_filename(folder, "server", NULL);
  g_autofree char *listen = g_strdup_printf("0.0.0.0:%d", PAPER_SERVER_PORT);
  g_autofree char *said = g_build_filename(folder, "server.log", NULL);
  char *command[] = {
      clonedocd,   (char *)"serve",  (char *)"--state", state, (char *)"--listen", listen, (char *)"--rate",
      (char *)"0", (char *)"--open", (char *)"4096",    NULL};
  g_auto(Fd) log = open(said, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  g_mkdir_with_parents(state, 0700);
  pid_t server = start(host_space, -1, command, log);
  for (gint64 begun = clock_now_ns(); !server_key; g_usleep(10000)) {
    g_autofree char *text = NULL;
    g_autoptr(GMatchInfo) match = NULL;
    g_autoptr(GRegex) regex = g_regex_new("the server's key is (\\S+)\\s", 0, 0, NULL);
    if (g_file_get_contents(said, &text, NULL, NULL) && g_regex_match(regex, text, 0, &match))
      server_key = g_match_info_fetch(match, 1);
    if (clock_now_ns() - begun > WAIT_S * G_GINT64_CONSTANT(1000000000) ||
        waitpid(server, NULL, WNOHANG) != 0)
      die("clonedocd", text);
  }
}

static int
start_part(guint number, gboolean clone)
{
  char self[4096];
  int ends[2];
  gssize length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    die("a process", g_strerror(errno));
  self[length] = '\0';
  g_autoptr(GPtrArray) command = g_ptr_array_new_with_free_func(g_free);
  if (callgrind && number == 1 && !clone) {
    g_ptr_array_add(command, g_strdup("/usr/bin/valgrind"));
    g_ptr_array_add(command, g_strdup("--tool=callgrind"));
    g_ptr_array_add(command, g_strdup("--quiet"));
    g_ptr_array_add(command, g_strdup_printf("--callgrind-out-file=%s", callgrind));
  }
  g_ptr_array_add(command, g_strdup(self));
  g_ptr_array_add(command, g_strdup_printf("--mode=%s", mode));
  g_ptr_array_add(command, g_strdup_printf("--devices=%d", count));
  g_ptr_array_add(command, g_strdup_printf("--folder=%s", folder));
  g_ptr_array_add(command, g_strdup_printf("--server=%s", server_key));
  g_ptr_array_add(command, g_strdup_printf("--seed=%d", seed));
  g_ptr_array_add(command, g_strdup_printf("--gap=%d", gap_ms));
  g_ptr_array_add(command, g_strdup_printf("--part=%u", number));
  if (clone)
    g_ptr_array_add(command, g_strdup("--clone"));
  g_ptr_array_add(command, NULL);
  start(clone ? host_space : rays[number].space, ends[1], (char **)command->pdata, -1);
  close(ends[1]);
  return ends[0];
}

static void
start_all(void)
{
  const Profile *profile = profile_find(profile_name ? profile_name : "wifi");
  g_autoptr(GError) error = NULL;
  if (!profile)
    die(profile_name, "there is no such profile");
  if (!network_make_star(rays, (guint)count, &host_space, &error))
    die("the links", error->message);
  start_server();
  for (guint i = 0; i < (guint)count; i++) {
    devices[i] = start_part(i, FALSE);
    rooms[i] = sporc ? devices[i] : start_part(i, TRUE);
  }
  for (guint i = 0; i < (guint)count; i++)
    shapers[i] = shaper_start(rays[i].tuns[NETWORK_DEVICE], rays[i].tuns[NETWORK_HOST], profile);
}

/* ---- orders */

static PaperLook
order(int to, PaperWhat what, guint value, const DocName *document)
{
  PaperOrder said = {.what = what, .value = value};
  PaperLook look;
  if (document)
    said.document = *document;
  if (send(to, &said, sizeof said, MSG_NOSIGNAL) != sizeof said ||
      recv(to, &look, sizeof look, 0) != sizeof look)
    die("a process", "has ended");
  return look;
}

static void
order_all(const int *all, guint64 mask, PaperWhat what, guint value, const DocName *document)
{
  for (guint i = 0; i < (guint)count; i++)
    if (mask >> i & 1)
      order(all[i], what, value, document);
}

static guint64
everybody(void)
{
  return count == 64 ? G_MAXUINT64 : (G_GUINT64_CONSTANT(1) << count) - 1;
}

/* Whether all of these have everything, and the same. */
static gboolean
is_settled(guint64 mask, PaperLook *looks)
{
  PaperLook of_rooms[PAPER_DEVICES_MAX];
  gint first = -1;
  gboolean settled = TRUE;
  for (guint i = 0; i < (guint)count && settled; i++) {
    if (!(mask >> i & 1))
      continue;
    looks[i] = order(devices[i], PAPER_LOOK, 0, NULL);
    of_rooms[i] = sporc ? looks[i] : order(rooms[i], PAPER_LOOK, 0, NULL);
    if (first < 0)
      first = (gint)i;
    settled = looks[i].settled && of_rooms[i].settled && of_rooms[i].number == of_rooms[first].number &&
              of_rooms[i].members == of_rooms[first].members && looks[i].length == looks[first].length &&
              memcmp(looks[i].digest, looks[first].digest, sizeof looks[i].digest) == 0 &&
              memcmp(looks[i].digest, of_rooms[i].digest, sizeof looks[i].digest) == 0;
  }
  return settled;
}

static void
settle(guint64 mask, PaperLook *looks, const char *when)
{
  gint64 begun = clock_now_ns();
  guint good = 0;
  while (good < 2) {
    good = is_settled(mask, looks) ? good + 1 : 0;
    if (clock_now_ns() - begun > WAIT_S * G_GINT64_CONSTANT(1000000000))
      die(when, "the devices' texts are not equal");
    g_usleep(LOOK_US);
  }
}

static void
wait_rooms(gboolean (*is_there)(const PaperLook *look), guint number, const char *when)
{
  gint64 begun = clock_now_ns();
  for (;;) {
    PaperLook look = order(rooms[number], PAPER_LOOK, 0, NULL);
    if (is_there(&look))
      return;
    if (clock_now_ns() - begun > WAIT_S * G_GINT64_CONSTANT(1000000000))
      die(when, "it takes too long");
    g_usleep(LOOK_US / 3);
  }
}

/* ---- phases */

typedef struct {
  const char *name;
  ShaperCounters begun[PAPER_DEVICES_MAX];
  gint64 begun_at;
} Phase;

static guint phases;

static void
begin(Phase *phase, const char *name)
{
  *phase = (Phase){.name = name};
  g_usleep(4 * TO_ALL_US); /* what the last phase left on the way */
  for (guint i = 0; i < (guint)count; i++)
    phase->begun[i] = shaper_counters(shapers[i]);
  order_all(devices, everybody(), PAPER_BEGIN, 0, NULL);
  phase->begun_at = clock_now_ns();
}

/* `active`: whose figures count. `done_at`, `typed_at`: CLOCK_MONOTONIC ns. */
static void
end(const Phase *phase, guint64 active, gint64 done_at, gint64 typed_at, guint operations)
{
  PaperLook looks[PAPER_DEVICES_MAX];
  g_usleep(TO_ALL_US); /* acknowledgements on the way */
  for (guint i = 0; i < (guint)count; i++)
    looks[i] = order(devices[i], PAPER_LOOK, 0, NULL);
  for (guint i = 0; i < (guint)count; i++)
    order(devices[i], PAPER_END, 0, NULL);
  printf("%s\"%s\": {\"seconds\": %.4f, \"tail_s\": %.4f, \"operations\": %u, \"entries\": %" G_GUINT64_FORMAT
         ", \"length\": %" G_GUINT64_FORMAT ", \"devices\": [",
         phases++ > 0 ? ", " : "", phase->name, (double)(done_at - phase->begun_at) / 1e9,
         typed_at > 0 ? (double)(done_at - typed_at) / 1e9 : 0.0, operations,
         order(rooms[0], PAPER_LOOK, 0, NULL).number, looks[0].length);
  gboolean any = FALSE;
  for (guint i = 0; i < (guint)count; i++) {
    ShaperCounters now = shaper_counters(shapers[i]);
    const ShaperCounters *before = &phase->begun[i];
    if (!(active >> i & 1))
      continue;
    printf("%s{\"number\": %u, \"cpu_s\": %.6f, \"up\": %" G_GUINT64_FORMAT ", \"down\": %" G_GUINT64_FORMAT
           ", \"packets_up\": %" G_GUINT64_FORMAT ", \"packets_down\": %" G_GUINT64_FORMAT
           ", \"drops\": %" G_GUINT64_FORMAT ", \"link_up\": %" G_GUINT64_FORMAT
           ", \"link_down\": %" G_GUINT64_FORMAT ", \"messages_up\": %" G_GUINT64_FORMAT
           ", \"messages_down\": %" G_GUINT64_FORMAT "}",
           any ? ", " : "", i, looks[i].cpu, now.bytes[SHAPER_UP] - before->bytes[SHAPER_UP],
           now.bytes[SHAPER_DOWN] - before->bytes[SHAPER_DOWN],
           now.packets[SHAPER_UP] - before->packets[SHAPER_UP],
           now.packets[SHAPER_DOWN] - before->packets[SHAPER_DOWN],
           now.drops[0] + now.drops[1] - before->drops[0] - before->drops[1], looks[i].sent,
           looks[i].received, looks[i].messages_sent, looks[i].messages_received);
    any = TRUE;
  }
  printf("]}");
  fflush(stdout);
}

static gint64
last_of(const PaperLook *looks, guint64 mask, gboolean typed)
{
  gint64 last = 0;
  for (guint i = 0; i < (guint)count; i++)
    if (mask >> i & 1)
      last = MAX(last, typed ? looks[i].typed_at : looks[i].changed_at);
  return last;
}

static gboolean
has_document(const PaperLook *look)
{
  return look->number > 0;
}

static gboolean
is_invited(const PaperLook *look)
{
  static const DocName none;
  return !doc_name_equal(&look->document, &none);
}

static gboolean
is_joined(const PaperLook *look)
{
  return look->joined && look->members == (guint)count;
}

/* One document, everybody in it, and a first line that says that all are there. */
static void
prepare(void)
{
  PaperLook looks[PAPER_DEVICES_MAX];
  DocName document;
  /* All of them listen before anybody is called. */
  order_all(devices, everybody(), PAPER_LOOK, 0, NULL);
  order_all(rooms, everybody(), PAPER_LOOK, 0, NULL);
  order(rooms[0], PAPER_CREATE, 0, NULL);
  wait_rooms(has_document, 0, "making the document");
  document = order(rooms[0], PAPER_LOOK, 0, NULL).document;
  order(rooms[0], PAPER_INVITE, 0, NULL);
  for (guint i = 1; i < (guint)count; i++) {
    wait_rooms(is_invited, i, "inviting");
    order(rooms[i], PAPER_ACCEPT, 0, NULL);
  }
  for (guint i = 0; i < (guint)count; i++)
    wait_rooms(is_joined, i, "joining");
  if (!sporc)
    order_all(devices, everybody(), PAPER_OPEN, 0, &document);
  settle(everybody(), looks, "beginning");
  order_all(devices, everybody(), PAPER_TYPE, 5, NULL);
  settle(everybody(), looks, "beginning");
}

static void
check_grown(const PaperLook *looks, guint64 before, guint typed, const char *when)
{
  if (looks[0].length == before || looks[0].length > before + typed)
    die(when, "the text has not what was typed");
}

static guint64
edit(void)
{
  Phase phase;
  PaperLook looks[PAPER_DEVICES_MAX];
  guint64 before = order(devices[0], PAPER_LOOK, 0, NULL).length;
  begin(&phase, "editing");
  order_all(devices, everybody(), PAPER_TYPE, (guint)keys, NULL);
  settle(everybody(), looks, "editing");
  end(&phase, everybody(), last_of(looks, everybody(), FALSE), last_of(looks, everybody(), TRUE),
      (guint)(keys * count));
  check_grown(looks, before, (guint)(keys * count), "editing");
  return looks[0].length;
}

/* One device in four is away while the others type. */
static void
update(guint64 before)
{
  Phase phase;
  PaperLook looks[PAPER_DEVICES_MAX];
  guint64 away = 0;
  guint staying = 0;
  for (guint i = 0; i < (guint)count; i++)
    if (i % 4 == 1)
      away |= G_GUINT64_CONSTANT(1) << i;
    else
      staying++;
  order_all(devices, away, PAPER_LEAVE, 0, NULL);
  order_all(devices, everybody() & ~away, PAPER_TYPE, (guint)keys, NULL);
  settle(everybody() & ~away, looks, "editing while some are away");
  check_grown(looks, before, (guint)keys * staying, "editing while some are away");
  guint64 there = looks[0].length;
  for (guint i = 0; i < (guint)count; i++)
    if ((away >> i & 1) && order(devices[i], PAPER_LOOK, 0, NULL).length == there)
      die("being away", "a device has what was typed without it");
  begin(&phase, "update");
  order_all(devices, away, PAPER_RETURN, 0, NULL);
  settle(everybody(), looks, "catching up");
  end(&phase, away, last_of(looks, away, FALSE), 0, (guint)keys * staying);
}

static void
check_one(guint number, gboolean keeps)
{
  gint64 begun = clock_now_ns();
  order(devices[number], PAPER_CHECK, keeps, NULL);
  while (!order(devices[number], PAPER_LOOK, 0, NULL).settled) {
    if (clock_now_ns() - begun > WAIT_S * G_GINT64_CONSTANT(1000000000))
      die("the security check", "it takes too long");
    g_usleep(LOOK_US / 3);
  }
}

/* Each device once, one after the other. */
static void
check(const char *name, gboolean keeps)
{
  Phase phase;
  gint64 sum = 0;
  begin(&phase, name);
  for (guint i = 0; i < (guint)count; i++) {
    gint64 begun = clock_now_ns();
    check_one(i, keeps);
    gint64 done = order(devices[i], PAPER_LOOK, 0, NULL).done_at;
    if (done < begun)
      die("the security check", "it was not done");
    sum += done - begun;
  }
  /* The time is that of one check. */
  end(&phase, everybody(), phase.begun_at + sum / count, 0, (guint)count);
}

static void
remove_last(void)
{
  Phase phase;
  PaperLook looks[PAPER_DEVICES_MAX], removed = order(devices[count - 1], PAPER_LOOK, 0, NULL);
  guint64 staying = everybody() & ~(G_GUINT64_CONSTANT(1) << (count - 1));
  begin(&phase, "removal");
  order(devices[0], PAPER_REMOVE, (guint)count - 1, NULL);
  gint64 begun = clock_now_ns();
  while (order(rooms[0], PAPER_LOOK, 0, NULL).members != (guint)count - 1) {
    if (clock_now_ns() - begun > WAIT_S * G_GINT64_CONSTANT(1000000000))
      die("removing a member", "it takes too long");
    g_usleep(LOOK_US / 3);
  }
  settle(staying, looks, "removing a member");
  gint64 done = order(devices[0], PAPER_LOOK, 0, NULL).done_at;
  if (done < phase.begun_at || order(rooms[1], PAPER_LOOK, 0, NULL).members != (guint)count - 1)
    die("removing a member", "it was not done");
  end(&phase, staying, done, 0, 1);
  /* It is one: who stays reads what is typed now, who was removed does not. */
  order(devices[0], PAPER_TYPE, 20, NULL);
  settle(staying, looks, "after removing a member");
  if (looks[0].length == removed.length ||
      order(devices[count - 1], PAPER_LOOK, 0, NULL).length != removed.length)
    die("removing a member", "the removed device still reads");
}

static void
conduct(void)
{
  signal(SIGPIPE, SIG_IGN);
  start_all();
  prepare();
  printf("{\"mode\": \"%s\", \"phases\": {", mode);
  update(edit());
  check("check", FALSE);
  if (sporc) {
    Phase unmeasured;
    begin(&unmeasured, "connecting");
    for (guint i = 0; i < (guint)count; i++)
      check_one(i, TRUE);
  }
  check("check_kept", TRUE);
  remove_last();
  printf("}}\n");
}

int
main(int argc, char **argv)
{
  const GOptionEntry options[] = {
      {"mode", 0, 0, G_OPTION_ARG_STRING, &mode, "clonedoc or sporc", "MODE"},
      {"profile", 0, 0, G_OPTION_ARG_STRING, &profile_name, "of the links (wifi)", "NAME"},
      {"devices", 0, 0, G_OPTION_ARG_INT, &count, "How many (16)", "N"},
      {"keys", 0, 0, G_OPTION_ARG_INT, &keys, "Typed by each in each phase with editing (40)", "N"},
      {"gap", 0, 0, G_OPTION_ARG_INT, &gap_ms, "Milliseconds between two keys, on average (200)", "MS"},
      {"seed", 0, 0, G_OPTION_ARG_INT, &seed, "Of what is typed (1)", "N"},
      {"folder", 0, 0, G_OPTION_ARG_FILENAME, &folder, "An empty one, for everybody's files", "DIR"},
      {"clonedocd", 0, 0, G_OPTION_ARG_FILENAME, &clonedocd, "The ordering server", "PROGRAM"},
      {"callgrind", 0, 0, G_OPTION_ARG_FILENAME, &callgrind, "Device 1 under callgrind, which writes there",
       "FILE"},
      {"server", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_STRING, &server_key, NULL, NULL},
      {"part", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_INT, &part, NULL, NULL},
      {"clone", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_NONE, &clone_part, NULL, NULL},
      {NULL}};
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("- one run of the paper's experiment");
  g_option_context_add_main_entries(context, options, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    die("usage", error->message);
  sporc = g_strcmp0(mode, "sporc") == 0;
  if ((!sporc && g_strcmp0(mode, "clonedoc") != 0) || !folder || count < 4 || count > PAPER_DEVICES_MAX ||
      keys < 1)
    die("usage", "--mode is clonedoc or sporc, --folder is needed, and 4 to 64 devices");
  if (part >= 0) {
    PaperWho who = {sporc,       clone_part,    (guint)part, (guint)count,
                    (guint)seed, (guint)gap_ms, folder,      server_key};
    paper_work(&who);
    return 0;
  }
  if (!clonedocd)
    die("usage", "--clonedocd is needed");
  conduct();
  return 0;
}
