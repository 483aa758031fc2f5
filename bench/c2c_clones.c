/* Many clones on one machine, each with the node that a clone has: a process that registers in a real
 * directory, is looked up there, and keeps real links to others over loopback. One process listens for all,
 * as doppeld does, and hands connections to the nodes by the clone's id. bench/c2c runs it; prints a JSON
 * object.
 *
 *   c2c_clones --clones N --folder DIR --directory ADDRESS=KEY
 *
 * At first they are left alone for a while. Then they form a tree of degree 4: each dials its children (so
 * looks them up first) and has something echoed. The first sends a message of 1,000 bytes to the group of all
 * of them, along the group's own tree, twice: links are made for the first, and are there for the second. At
 * last one of them moves to another port, its connections broken, while another one has a stream to it. Says
 * on standard error what it is at. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"
#include "c2c/api.h"
#include "light_clone.h"
#include "link/link.h"
#include "link/pass.h"
#include "wire/c2c_control.pb-c.h"

enum { DEGREE = 4, CLONES_MAX = 4096, ASKERS = 16, WAIT_S = 120, BODY = 1000 };
enum { ADDED = 500 /* members of the group in one request */, ROUNDS = 2 };

static int count = 100;
static int idle_seconds = 20;
static char *folder = NULL, *directory_text = NULL;
static int moved_fd;      /* tells the last clone that it is somewhere else */
static GPtrArray *places; /* of DirectoryPlace */
static LightClone **clones;
static pid_t host;

static const GOptionEntry options[] = {
    {"clones", 'n', 0, G_OPTION_ARG_INT, &count, "How many (default 100)", "N"},
    {"idle", 0, 0, G_OPTION_ARG_INT, &idle_seconds, "How long they are left alone (default 20)", "SECONDS"},
    {"folder", 0, 0, G_OPTION_ARG_FILENAME, &folder, "Where they keep what they know", "DIRECTORY"},
    {"directory", 0, 0, G_OPTION_ARG_STRING, &directory_text, "Where they register", "ADDRESS=KEY"},
    {NULL},
};

/* Shared with the process that listens and with all nodes. */
static struct {
  guint16 ports[2];                 /* that are listened on */
  volatile guint8 port[CLONES_MAX]; /* which of them a clone says it is at */
  volatile guint moving;            /* the last clone: its connections are to be broken */
} * shared;

static void G_GNUC_NORETURN
die(const char *what, const char *why)
{
  fprintf(stderr, "c2c_clones: %s: %s\n", what, why);
  if (host > 0)
    kill(host, SIGTERM);
  exit(1);
}

/* What it is at, for who waits. */
static void
say(const char *what)
{
  fprintf(stderr, "c2c_clones: %d clones: %s\n", count, what);
}

static double
seconds_since(gint64 begin_ns)
{
  return (double)(clock_now_ns() - begin_ns) / 1e9;
}

/* ---- nodes, and the host of all */

static int
run_echo(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place)
{
  char bytes[4096];
  ssize_t got;
  while ((got = read(fd, bytes, sizeof bytes)) > 0)
    if (!io_write_all(fd, bytes, got))
      return 1;
  return 0;
}

static const Service services[] = {{"echo", FALSE, run_echo}, {NULL}};

static char **
addresses_now(void *data)
{
  guint number = GPOINTER_TO_UINT(data);
  char *one[] = {g_strdup_printf("127.0.0.1:%u", shared->ports[shared->port[number]]), NULL};
  char **all = g_strdupv(one);
  g_free(one[0]);
  return all;
}

static int
run_node(guint number, int control_fd)
{
  NodeConfig config = {.control_fd = control_fd,
                       .services = services,
                       .addresses = addresses_now,
                       .addresses_fd = number == (guint)count - 1 ? moved_fd : 0,
                       .data = GUINT_TO_POINTER(number)};
  return light_clone_run(clones[number], &config);
}

static int
listen_somewhere(guint16 *port)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, SOMAXCONN) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &length) < 0)
    die("listening", g_strerror(errno));
  *port = ntohs(address.sin_port);
  return fd;
}

static void
break_connection(int fd)
{
  shutdown(fd, SHUT_RDWR);
  close(fd);
}

/* What is handed to the clone that will move is kept, so that it can be broken; where it was before it moved,
 * nobody answers. */
static void
hand_over(int fd, int port, const int *controls, guint mover, GArray *kept)
{
  LinkPreamble preamble;
  guint8 bytes[WIRE_PREAMBLE_LENGTH];
  guint number = G_MAXUINT;
  if (link_preamble_read(fd, 1000, &preamble, NULL))
    memcpy(&number, preamble.clone + 4, sizeof number);
  if (number == mover && shared->port[count - 1] != port) {
    close(fd);
    return;
  }
  if (number < (guint)count) {
    wire_preamble_encode(bytes, &preamble);
    link_pass_send_with(controls[number], fd, bytes, sizeof bytes, NULL);
  }
  if (number == mover)
    g_array_append_val(kept, fd);
  else
    close(fd);
}

static void
start_nodes(int *controls)
{
  for (guint number = 0; number < (guint)count; number++) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
      die("a socket", g_strerror(errno));
    pid_t node = fork();
    if (node < 0)
      die("fork", g_strerror(errno));
    if (node == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(ends[0]);
      for (guint i = 0; i < number; i++)
        close(controls[i]);
      _exit(run_node(number, ends[1]));
    }
    close(ends[1]);
    controls[number] = ends[0];
  }
}

static void G_GNUC_NORETURN
run_host(const int listeners[2])
{
  g_autofree int *controls = g_new(int, count);
  g_autoptr(GArray) kept = g_array_new(FALSE, FALSE, sizeof(int));
  guint mover = count - 1;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  start_nodes(controls);
  for (;;) {
    struct pollfd fds[] = {{.fd = listeners[0], .events = POLLIN}, {.fd = listeners[1], .events = POLLIN}};
    poll(fds, 2, 50);
    if (shared->moving) {
      for (guint i = 0; i < kept->len; i++)
        break_connection(g_array_index(kept, int, i));
      g_array_set_size(kept, 0);
      shared->moving = 0;
    }
    for (int i = 0; i < 2; i++)
      if (fds[i].revents)
        hand_over(accept4(listeners[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), i, controls, mover, kept);
  }
}

/* ---- asking nodes */

static void
bind_node(gpointer data, gpointer user_data)
{
  light_clone_bind(clones[GPOINTER_TO_UINT(data) - 1], places);
}

static void
permit_all(gpointer data, gpointer user_data)
{
  light_clone_permit(clones[GPOINTER_TO_UINT(data) - 1], "*", "echo");
  light_clone_permit(clones[GPOINTER_TO_UINT(data) - 1], "*", "group");
}

/* ---- a message to all */

static char **everybody; /* "key:FINGERPRINT" of each */

static void
name_everybody(void)
{
  everybody = g_new0(char *, count + 1);
  for (guint number = 0; number < (guint)count; number++) {
    const IdentityPublic origin = light_clone_origin(clones[number]);
    g_autofree char *text = identity_public_to_text(&origin);
    everybody[number] = g_strconcat("key:", text, NULL);
  }
}

/* The caller's. */
static Doppel__Wire__ControlGroups *
edit_group(guint number, Doppel__Wire__ControlGroupEdit *edit)
{
  char group[] = "all";
  edit->group = group;
  gsize length = doppel__wire__control_group_edit__get_packed_size(edit);
  g_autofree guint8 *bytes = g_malloc(length);
  doppel__wire__control_group_edit__pack(edit, bytes);
  g_autoptr(GBytes) answer = light_clone_ask(clones[number], "group", bytes, length);
  Doppel__Wire__ControlGroups *groups =
      doppel__wire__control_groups__unpack(NULL, g_bytes_get_size(answer), g_bytes_get_data(answer, NULL));
  if (!groups)
    die("group", "an answer that is none");
  return groups;
}

static void
make_group(gpointer data, gpointer user_data)
{
  guint number = GPOINTER_TO_UINT(data) - 1;
  Doppel__Wire__ControlGroupEdit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__CREATE;
  for (guint from = 0; from < (guint)count; from += ADDED) {
    edit.users = everybody + from;
    edit.n_users = MIN((guint)count - from, ADDED);
    doppel__wire__control_groups__free_unpacked(edit_group(number, &edit), NULL);
    edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__ADD;
  }
}

static void
listen_all(C2cListener **listeners)
{
  for (guint number = 1; number < (guint)count; number++) {
    char *why = NULL;
    C2c *c2c = c2c_open(clones[number]->socket, &why);
    listeners[number] = c2c ? c2c_listen(c2c, "group:all", &why) : NULL;
    if (!listeners[number])
      die("listening to a group", why ? why : g_strerror(errno));
  }
}

typedef struct {
  double seconds, reported; /* until it was at the last one; until the sender knew */
  guint arrived, twice;
  guint reached, waiting; /* as the sender was told */
  guint64 sent, taken;    /* messages of all clones, and bytes of their links */
  guint64 bytes;
} Broadcast;

static void
take_message(C2cListener *listener, const guint8 *body, guint *times, Broadcast *result)
{
  C2cPeer peer;
  g_auto(Fd) fd = c2c_accept(listener, &peer);
  guint8 got[BODY + 1];
  if (fd < 0 || io_read_all(fd, got, sizeof got) != BODY || memcmp(got, body, BODY) != 0)
    die("a message", "is not the one that was sent");
  result->arrived += ++*times == 1;
  result->twice += *times > 1;
}

/* Whether the sender's node says that the message is over. */
static gboolean
is_over(guint64 sequence, Broadcast *result)
{
  Doppel__Wire__ControlGroupEdit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SENT;
  edit.sequence = sequence;
  Doppel__Wire__ControlGroups *groups = edit_group(0, &edit);
  gboolean over = groups->n_messages == 1 && groups->messages[0]->over;
  if (over) {
    result->reached = groups->messages[0]->reached;
    result->waiting = groups->messages[0]->waiting;
  }
  doppel__wire__control_groups__free_unpacked(groups, NULL);
  return over;
}

/* The first clone's message to all others, until the sender has been told who has it, and a little longer: it
 * may come to somebody twice. */
static void
broadcast(C2cListener **listeners, guint8 round, Broadcast *result)
{
  enum { LOOK_MS = 50, LONGER_S = 2 };
  guint8 body[BODY] = {round};
  g_autofree struct pollfd *fds = g_new0(struct pollfd, count);
  g_autofree guint *times = g_new0(guint, count);
  Doppel__Wire__ControlGroupEdit edit = DOPPEL__WIRE__CONTROL_GROUP_EDIT__INIT;
  for (guint number = 0; number < (guint)count; number++)
    fds[number] =
        (struct pollfd){.fd = number > 0 ? c2c_listener_fd(listeners[number]) : -1, .events = POLLIN};
  edit.what = DOPPEL__WIRE__CONTROL_GROUP_EDIT__WHAT__SEND;
  edit.message = (ProtobufCBinaryData){.data = body, .len = sizeof body};
  gint64 begin = clock_now_ns();
  Doppel__Wire__ControlGroups *groups = edit_group(0, &edit);
  guint64 sequence = groups->n_messages == 1 ? groups->messages[0]->sequence : 0;
  doppel__wire__control_groups__free_unpacked(groups, NULL);
  for (gint64 over = 0; over == 0 || (clock_now_ns() - over) / 1000000000 < LONGER_S;) {
    int ready = poll(fds, count, LOOK_MS);
    for (guint number = 1; ready > 0 && number < (guint)count; number++)
      if (fds[number].revents) {
        take_message(listeners[number], body, &times[number], result);
        result->seconds = seconds_since(begin);
      }
    if (over == 0 && is_over(sequence, result)) {
      over = clock_now_ns();
      result->reported = seconds_since(begin);
    }
    if (seconds_since(begin) > WAIT_S * 2)
      die("a message", "its sender is told nothing");
  }
}

static gboolean
echoes(int fd, const char *words)
{
  char back[64];
  gsize length = strlen(words);
  return io_write_all(fd, words, length) && io_read_all(fd, back, length) == (gssize)length &&
         memcmp(words, back, length) == 0;
}

static int
dial(guint from, guint to)
{
  return light_clone_dial(clones[from], clones[to]->name, "echo");
}

/* Dials the parent's child `data` - 1. */
static void
connect_child(gpointer data, gpointer user_data)
{
  guint child = GPOINTER_TO_UINT(data) - 1;
  if (child == 0)
    return;
  g_auto(Fd) fd = dial((child - 1) / DEGREE, child);
  if (!echoes(fd, "hello"))
    die("a stream", "does not give back what it was given");
}

/* Seconds that it takes to do that for every clone, ASKERS at a time. */
static double
for_all(GFunc function)
{
  gint64 begin = clock_now_ns();
  GThreadPool *pool = g_thread_pool_new(function, NULL, ASKERS, TRUE, NULL);
  for (guint number = 0; number < (guint)count; number++)
    g_thread_pool_push(pool, GUINT_TO_POINTER(number + 1), NULL);
  g_thread_pool_free(pool, FALSE, TRUE);
  return seconds_since(begin);
}

static double
await_sockets(void)
{
  gint64 begin = clock_now_ns();
  for (guint number = 0; number < (guint)count; number++) {
    const char *path = clones[number]->socket;
    while (!g_file_test(path, G_FILE_TEST_EXISTS)) {
      if (seconds_since(begin) > WAIT_S || waitpid(host, NULL, WNOHANG) != 0)
        die(path, "does not come");
      g_usleep(10000);
    }
  }
  return seconds_since(begin);
}

typedef struct {
  guint64 sent, received, links;
} Moved;

/* Messages to groups that all clones have sent and taken. */
static void
count_messages(guint64 *sent, guint64 *taken)
{
  *sent = *taken = 0;
  for (guint number = 0; number < (guint)count; number++) {
    g_autoptr(GBytes) answer = light_clone_ask(clones[number], "status", NULL, 0);
    Doppel__Wire__ControlStatus *status =
        doppel__wire__control_status__unpack(NULL, g_bytes_get_size(answer), g_bytes_get_data(answer, NULL));
    if (!status)
      die("status", "is no answer");
    *sent += status->messages_sent;
    *taken += status->messages_taken;
    doppel__wire__control_status__free_unpacked(status, NULL);
  }
}

static Moved
moved_bytes(void)
{
  Moved sum = {0};
  for (guint number = 0; number < (guint)count; number++) {
    g_autoptr(GBytes) answer = light_clone_ask(clones[number], "peers", NULL, 0);
    Doppel__Wire__ControlPeers *peers =
        doppel__wire__control_peers__unpack(NULL, g_bytes_get_size(answer), g_bytes_get_data(answer, NULL));
    if (!peers)
      die("peers", "is no answer");
    for (gsize i = 0; i < peers->n_peers; i++) {
      sum.sent += peers->peers[i]->sent;
      sum.received += peers->peers[i]->received;
      sum.links++;
    }
    doppel__wire__control_peers__free_unpacked(peers, NULL);
  }
  return sum;
}

/* Seconds from the move of the last clone until a stream that another one had to it goes on; `anew`: until
 * somebody who never knew it finds it. */
static double
move_one(double *anew)
{
  guint mover = count - 1, friend = (mover - 1) / DEGREE, stranger = friend > 0 ? 0 : 1;
  g_auto(Fd) fd = dial(friend, mover);
  if (!echoes(fd, "before"))
    die("a stream", "does not give back what it was given");
  gint64 begin = clock_now_ns();
  shared->port[mover] = 1;
  eventfd_write(moved_fd, 1);
  shared->moving = 1;
  while (shared->moving)
    g_usleep(1000);
  if (!echoes(fd, "after"))
    die("the moved clone's stream", "ends");
  double took = seconds_since(begin);
  begin = clock_now_ns();
  g_auto(Fd) other = dial(stranger, mover);
  if (!echoes(other, "anew"))
    die("a stream", "does not give back what it was given");
  *anew = seconds_since(begin);
  return took;
}

typedef struct {
  guint processes;
  guint64 memory;    /* bytes that they have to themselves, or share in part (PSS) */
  GHashTable *wakes; /* thread → times that it went to sleep, so was woken; NULL: not looked at */
} Load;

/* The number after `key` in a file of the process. */
static guint64
number_of(pid_t process, const char *file, const char *key)
{
  g_autofree char *path = g_strdup_printf("/proc/%d/%s", process, file), *text = NULL;
  const char *line = g_file_get_contents(path, &text, NULL, NULL) ? strstr(text, key) : NULL;
  return line ? g_ascii_strtoull(line + strlen(key), NULL, 10) : 0;
}

static void
add_wakes(pid_t process, GHashTable *wakes)
{
  g_autofree char *path = g_strdup_printf("/proc/%d/task", process);
  g_autoptr(GDir) threads = g_dir_open(path, 0, NULL);
  for (const char *name; threads && (name = g_dir_read_name(threads));) {
    g_autofree char *file = g_strdup_printf("task/%s/status", name);
    guint64 count_of = number_of(process, file, "\nvoluntary_ctxt_switches:\t");
    g_hash_table_insert(wakes, GINT_TO_POINTER(atoi(name)), GUINT_TO_POINTER(count_of));
  }
}

/* Of all processes below that one. */
static void
add_load(pid_t process, gboolean memory, Load *load)
{
  g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", process, process), *text = NULL;
  if (!g_file_get_contents(path, &text, NULL, NULL))
    return;
  g_auto(GStrv) children = g_strsplit_set(text, " \n", -1);
  for (char **child = children; *child; child++) {
    pid_t each = atoi(*child);
    if (each <= 0)
      continue;
    load->processes++;
    if (load->wakes)
      add_wakes(each, load->wakes);
    load->memory += memory ? number_of(each, "smaps_rollup", "\nPss:") * 1024 : 0;
    add_load(each, memory, load);
  }
}

/* How often a clone that has nothing to do wakes: threads that are there before and after count. */
static double
leave_alone(void)
{
  g_autoptr(GHashTable) before = g_hash_table_new(NULL, NULL), after = g_hash_table_new(NULL, NULL);
  Load first = {.wakes = before}, last = {.wakes = after};
  GHashTableIter iter;
  gpointer thread, times;
  guint sum = 0;
  sleep(3); /* what is left of the beginning */
  add_load(host, FALSE, &first);
  sleep(idle_seconds);
  add_load(host, FALSE, &last);
  g_hash_table_iter_init(&iter, before);
  while (g_hash_table_iter_next(&iter, &thread, &times))
    if (g_hash_table_contains(after, thread))
      sum += GPOINTER_TO_UINT(g_hash_table_lookup(after, thread)) - GPOINTER_TO_UINT(times);
  return (double)sum / count;
}

static void
begin(int listeners[2])
{
  g_autoptr(GError) error = NULL;
  struct rlimit files;
  if (!folder || !directory_text || count < 2 || count > CLONES_MAX)
    die("usage", "--folder and --directory are needed, and 2 clones at least");
  DirectoryPlace *place = directory_place_parse(directory_text, &error);
  if (!place)
    die(directory_text, error->message);
  clones = g_new0(LightClone *, count);
  for (guint number = 0; number < (guint)count; number++) {
    g_autofree char *name = g_strdup_printf("user%u", number);
    clones[number] = light_clone_new(folder, number, name, NULL);
  }
  places = g_ptr_array_new();
  g_ptr_array_add(places, place);
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  moved_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED)
    die("memory", g_strerror(errno));
  for (int i = 0; i < 2; i++)
    listeners[i] = listen_somewhere(&shared->ports[i]);
}

int
main(int argc, char **argv)
{
  int listeners[2];
  g_autoptr(GError) error = NULL;
  g_autoptr(GOptionContext) context = g_option_context_new("- many clones at once");
  g_option_context_add_main_entries(context, options, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error))
    die("usage", error->message);
  begin(listeners);
  say("starting");
  host = fork();
  if (host == 0)
    run_host(listeners);
  double started = await_sockets();
  say("registering");
  double bound = for_all(bind_node);
  for_all(permit_all);
  say("left alone");
  double wakes = leave_alone();
  say("connecting");
  double connected = for_all(connect_child);
  Moved moved = moved_bytes();
  Load load = {0};
  add_load(host, TRUE, &load);
  g_autofree C2cListener **ears = g_new0(C2cListener *, count);
  say("making a group of all in each");
  name_everybody();
  double grouped = for_all(make_group);
  listen_all(ears);
  Broadcast rounds[ROUNDS] = {0};
  guint64 sent = 0, taken = 0;
  for (guint8 i = 0; i < ROUNDS; i++) {
    say("a message to all");
    Moved before = moved_bytes();
    broadcast(ears, i + 1, &rounds[i]);
    count_messages(&rounds[i].sent, &rounds[i].taken);
    rounds[i].sent -= sent;
    rounds[i].taken -= taken;
    sent += rounds[i].sent;
    taken += rounds[i].taken;
    rounds[i].bytes = moved_bytes().sent - before.sent;
  }
  say("one moves");
  double anew, again = move_one(&anew);
  printf("{\"clones\": %d, \"processes\": %u, \"start_s\": %.3f, \"register_s\": %.3f, \"idle_s\": %d, "
         "\"idle_wakes\": %.3f, \"connect_s\": %.3f, \"links\": %" G_GUINT64_FORMAT
         ", \"sent_bytes\": %" G_GUINT64_FORMAT ", \"memory_bytes\": %" G_GUINT64_FORMAT
         ", \"group_s\": %.3f, \"broadcasts\": [",
         count, load.processes, started, bound, idle_seconds, wakes, connected, moved.links, moved.sent,
         load.memory, grouped);
  for (guint i = 0; i < ROUNDS; i++)
    printf("%s{\"seconds\": %.3f, \"reported_s\": %.3f, \"arrived\": %u, \"twice\": %u, \"reached\": %u, "
           "\"waiting\": %u, \"sent\": %" G_GUINT64_FORMAT ", \"taken\": %" G_GUINT64_FORMAT
           ", \"bytes\": %" G_GUINT64_FORMAT "}",
           i > 0 ? ", " : "", rounds[i].seconds, rounds[i].reported, rounds[i].arrived, rounds[i].twice,
           rounds[i].reached, rounds[i].waiting, rounds[i].sent, rounds[i].taken, rounds[i].bytes);
  printf("], \"move_s\": %.3f, \"found_anew_s\": %.3f}\n", again, anew);
  kill(host, SIGTERM);
  waitpid(host, NULL, 0);
  return 0;
}
