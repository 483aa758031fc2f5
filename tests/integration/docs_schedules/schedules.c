/* Everybody comes to one text, all processes being real: 16 devices (clonedoc/device) and their clones' nodes
 * and rooms write in one document through clonedocd, and find each other in cloneds. All their links go
 * through a process that cuts them, lets them stall, and opens them late; devices, clones and both servers
 * are killed and begin again. At the end all devices and clones have the same bytes, and each keystroke is
 * there once, but for those that somebody deleted.
 *
 *   docs-schedules --clonedocd PROGRAM --cloneds PROGRAM [--schedules N] [--seed S]
 *
 * A schedule is a new document. What is done when follows from its seed; what comes of it is the machine's.
 * TAP on standard output. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "c2c/directory_place.h"
#include "c2c/services.h"
#include "clonedoc/room/room_call.h"
#include "doppel/c2c.h"
#include "light_clone.h"
#include "schedules.h"
#include "wire/message.h"

enum {
  ANSWER_S = 30,
  STEP_MS = 20,

  SERVER_KILLS = 2,
  DIRECTORY_KILLS = 1
};
/* Patience is counted in looks, not in time: the machine may stand still. */
enum { LOOKS_MAX = 2400, LOOK_US = 50000 };
#define MS(ms) ((ms)*G_GINT64_CONSTANT(1000))

typedef struct {
  pid_t pid; /* 0: it does not run */
  gint64 back_at;
} Life;

typedef struct {
  char *program, *name, *address, *key;
  Life life;
  guint kills;
} Server;

static int schedules = 3, life_ms = 1500;
static gint64 first_seed = 1;
static gboolean keep;
static char *folder;
static Shared *shared;
static Server documents, directory;
static LinksConfig links;
static int devices_fd; /* to the links */
static LightClone *clones[USERS];
static Life clone_lives[USERS], devices[USERS];
static GRand *rand_now;
static DocName document;
static gboolean joined[USERS];
static char *addresses[LINKS_MAX]; /* before each of those who listen */
static struct {
  guint devices, clones, servers, directories, keys, deleted;
} counts;

static const Service doc_services[] = {
    {"doc", TRUE, doc_run}, {"doc-invite", FALSE, doc_run}, {"doc-heads", FALSE, doc_run}, {NULL}};
static const ServiceTask doc_tasks[] = {{"docs", doc_task_run}, {NULL}};

static void tell_trouble(void);

static void G_GNUC_NORETURN G_GNUC_PRINTF(1, 2) die(const char *format, ...)
{
  va_list words;
  va_start(words, format);
  g_autofree char *text = g_strdup_vprintf(format, words);
  va_end(words);
  printf("Bail out! %s\n", text);
  fflush(stdout);
  tell_trouble();
  fprintf(stderr, "docs-schedules: what is left is in %s\n", folder);
  exit(1);
}

static guint
pick(guint below)
{
  return (guint)g_rand_int_range(rand_now, 0, (gint32)below);
}

/* ---- servers ---- */

static pid_t
start_program(char **words, const char *log)
{
  pid_t parent = getpid(), pid = fork();
  if (pid < 0)
    die("fork: %s", g_strerror(errno));
  if (pid > 0)
    return pid;
  int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  dup2(fd, STDOUT_FILENO);
  dup2(fd, STDERR_FILENO);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() == parent)
    execv(words[0], words);
  _exit(127);
}

/* Listens when this returns. */
static void
server_start(Server *server)
{
  g_autofree char *state = g_build_filename(folder, server->name, NULL),
                  *log = g_strconcat(state, ".log", NULL);
  char *words[] = {server->program, (char *)"serve",  (char *)"--state", state, (char *)"--listen",
                   server->address, (char *)"--rate", (char *)"0",       NULL};
  unlink(log);
  mkdir(state, 0700);
  server->life.pid = start_program(words, log);
  for (guint left = 3000; left > 0; left--) {
    g_autofree char *said = NULL;
    const char *key = g_file_get_contents(log, &said, NULL, NULL) ? strstr(said, "key is ") : NULL;
    if (key && strchr(key, '\n')) {
      g_free(server->key);
      server->key = g_strndup(key + strlen("key is "), strcspn(key + strlen("key is "), " \n"));
      return;
    }
    if (waitpid(server->life.pid, NULL, WNOHANG) != 0)
      break;
    g_usleep(10000);
  }
  die("%s does not serve: see %s", server->name, log);
}

static void
life_end(Life *life)
{
  if (life->pid <= 0)
    return;
  kill(life->pid, SIGKILL);
  waitpid(life->pid, NULL, 0);
  life->pid = 0;
}

/* ---- asking a clone ---- */

static DocRoomAnswer *
receive(int fd)
{
  g_autoptr(GBytes) frame = wire_stream_receive(fd, DOC_ROOM_FRAME_MAX, NULL);
  gsize length;
  const void *data = frame ? g_bytes_get_data(frame, &length) : NULL;
  return frame ? doc_room_answer_take(data, length, NULL) : NULL;
}

/* Not through the links. -1: it is away. */
static int
dial(guint user)
{
  struct timeval patience = {ANSWER_S, 0};
  C2c *c2c = c2c_open(clones[user]->socket, NULL);
  int fd = c2c ? c2c_dial(c2c, NULL, "doc", NULL) : -1;
  if (c2c)
    c2c_close(c2c);
  if (fd >= 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }
  return fd;
}

/* The first answer, or that about the present document where there are several rows; NULL: it is away, or
 * knows nothing of it. */
static DocRoomAnswer *
ask(guint user, DocRoomQuestion *question, Doppel__Room__Question__WhatCase what)
{
  g_auto(Fd) fd = dial(user);
  question->what_case = what;
  if (fd < 0 || !wire_stream_send(fd, &question->base, NULL))
    return NULL;
  for (;;) {
    g_autoptr(DocRoomAnswer) answer = receive(fd);
    if (!answer || answer->what_case != DOC_ROOM_TELL(ROW) || what != DOC_ROOM_ASK(LIST))
      return g_steal_pointer(&answer);
    if (memcmp(answer->row->document.data, document.bytes, DOC_NAME_LENGTH) == 0)
      return g_steal_pointer(&answer);
  }
}

static DocRoomAnswer *
row_of(guint user)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.list = TRUE;
  g_autoptr(DocRoomAnswer) answer = ask(user, &question, DOC_ROOM_ASK(LIST));
  return answer && answer->what_case == DOC_ROOM_TELL(ROW) ? g_steal_pointer(&answer) : NULL;
}

static gboolean
is_in(guint user, Doppel__Room__State state, guint members)
{
  g_autoptr(DocRoomAnswer) answer = row_of(user);
  return answer && answer->row->state == state && answer->row->members >= members;
}

/* ---- processes ---- */

static void
device_start(guint user)
{
  pid_t parent = getpid();
  guint32 seed = g_rand_int(rand_now);
  fflush(NULL);
  devices[user].pid = fork();
  if (devices[user].pid < 0)
    die("fork: %s", g_strerror(errno));
  if (devices[user].pid > 0)
    return;
  g_autofree char *place = g_strdup_printf("%s/device-%u", folder, user);
  DeviceConfig config = {user, seed, place, clones[user]->socket, &document, devices_fd};
  if (getppid() == parent)
    device_run(&config, shared);
  _exit(1);
}

static void
clone_start(guint user)
{
  light_clone_start(clones[user], doc_services, doc_tasks);
  clone_lives[user].pid = clones[user]->host;
}

static void
clone_kill(guint user)
{
  light_clone_stop(clones[user]);
  clone_lives[user].pid = 0;
}

static void
come_back(gboolean all)
{
  gint64 now = g_get_monotonic_time();
  for (guint i = 0; i < USERS; i++) {
    if (clone_lives[i].pid == 0 && (all || clone_lives[i].back_at <= now))
      clone_start(i);
    if (joined[i] && devices[i].pid == 0 && (all || devices[i].back_at <= now))
      device_start(i);
  }
  if (documents.life.pid == 0 && (all || documents.life.back_at <= now))
    server_start(&documents);
  if (directory.life.pid == 0 && (all || directory.life.back_at <= now))
    server_start(&directory);
}

static void
check_alive(void)
{
  for (guint i = 0; i < USERS; i++)
    if (shared->devices[i].failed[0])
      die("%s", shared->devices[i].failed);
  for (guint i = 0; i < USERS; i++)
    if (devices[i].pid > 0 && waitpid(devices[i].pid, NULL, WNOHANG) != 0) {
      devices[i].pid = 0;
      die("device %u ended by itself", i);
    }
}

static gint64
until_back(guint most_ms)
{
  return g_get_monotonic_time() + MS(pick(most_ms));
}

static void
disturb(void)
{
  guint user = pick(USERS);
  guint what = pick(120);
  if (what < 20 && devices[user].pid > 0) {
    life_end(&devices[user]);
    devices[user].back_at = until_back(150);
    counts.devices++;
  } else if (what < 23 && clone_lives[user].pid > 0 && joined[user]) {
    clone_kill(user);
    clone_lives[user].back_at = until_back(200);
    counts.clones++;
  } else if (what < 26 && documents.life.pid > 0 && documents.kills < SERVER_KILLS) {
    life_end(&documents.life);
    documents.life.back_at = until_back(300);
    documents.kills++;
    counts.servers++;
  } else if (what < 27 && directory.life.pid > 0 && directory.kills < DIRECTORY_KILLS) {
    life_end(&directory.life);
    directory.life.back_at = until_back(300);
    directory.kills++;
    counts.directories++;
  }
}

/* ---- a schedule ---- */

static void
create(guint owner)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Create wanted = DOPPEL__ROOM__CREATE__INIT;
  IdentityPublic key;
  if (!identity_public_from_text(documents.key, &key, NULL))
    die("clonedocd's key is \"%s\"", documents.key);
  wanted.title = (char *)"notes";
  wanted.addresses = &addresses[USERS];
  wanted.n_addresses = 1;
  wanted.server = wire_borrow(key.bytes, sizeof key.bytes);
  question.create = &wanted;
  g_autoptr(DocRoomAnswer) answer = ask(owner, &question, DOC_ROOM_ASK(CREATE));
  if (!answer || answer->what_case != DOC_ROOM_TELL(ROW))
    die("user %u makes no document: %s", owner,
        answer && answer->what_case == DOC_ROOM_TELL(FAILED) ? answer->failed->words : "");
  memcpy(document.bytes, answer->row->document.data, sizeof document.bytes);
}

static void
invite(guint owner, guint user)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Change change = DOPPEL__ROOM__CHANGE__INIT;
  change.document = wire_borrow(document.bytes, sizeof document.bytes);
  change.user = clones[user]->name;
  change.role = DOPPEL__ROOM__ROLE__WRITER;
  question.change = &change;
  g_autoptr(DocRoomAnswer) answer = ask(owner, &question, DOC_ROOM_ASK(CHANGE));
  if (!answer || answer->what_case != DOC_ROOM_TELL(ROW))
    die("user %u does not invite user %u: %s", owner, user,
        answer && answer->what_case == DOC_ROOM_TELL(FAILED) ? answer->failed->words : "");
}

static void
accept_invitation(guint user)
{
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  question.accept = wire_borrow(document.bytes, sizeof document.bytes);
  g_autoptr(DocRoomAnswer) answer = ask(user, &question, DOC_ROOM_ASK(ACCEPT));
}

/* Who is a member begins to write at once, while others still come. */
static void
gather(guint owner)
{
  guint left = USERS, looks = LOOKS_MAX;
  create(owner);
  while (!is_in(owner, DOPPEL__ROOM__STATE__JOINED, 1)) {
    if (looks-- == 0)
      die("the document does not get to its server");
    g_usleep(LOOK_US);
  }
  for (guint i = 0; i < USERS; i++)
    if (i != owner)
      invite(owner, i);
  shared->live = TRUE;
  while (left > 0) {
    for (guint i = 0; i < USERS; i++) {
      if (joined[i])
        continue;
      g_autoptr(DocRoomAnswer) answer = row_of(i);
      if (answer && answer->row->state == DOPPEL__ROOM__STATE__INVITED)
        accept_invitation(i);
      joined[i] = answer && answer->row->state == DOPPEL__ROOM__STATE__JOINED;
      left -= joined[i];
      if (joined[i])
        device_start(i);
    }
    if (looks-- == 0)
      die("%u users do not become members", left);
    check_alive();
    g_usleep(LOOK_US);
  }
}

static void
live(void)
{
  gint64 until = g_get_monotonic_time() + MS(life_ms + (gint64)pick(1000));
  shared->chaos = TRUE;
  while (g_get_monotonic_time() < until) {
    disturb();
    g_usleep(MS(STEP_MS));
    come_back(FALSE);
    check_alive();
  }
  shared->chaos = FALSE;
  shared->live = FALSE;
  come_back(TRUE);
}

static gboolean
devices_agree(void)
{
  const DeviceShare *first = &shared->devices[0];
  for (guint i = 0; i < USERS; i++) {
    const DeviceShare *share = &shared->devices[i];
    if (!share->settled || !share->current || share->bytes != first->bytes ||
        strcmp(share->text, first->text) != 0)
      return FALSE;
  }
  return TRUE;
}

static gboolean
clones_agree(void)
{
  guint64 number = 0;
  for (guint i = 0; i < USERS; i++) {
    g_autoptr(DocRoomAnswer) answer = row_of(i);
    if (!answer || answer->row->state != DOPPEL__ROOM__STATE__JOINED || !answer->row->settled ||
        answer->row->members != USERS || (number > 0 && answer->row->number != number))
      return FALSE;
    number = answer->row->number;
  }
  return TRUE;
}

static void
await_round(void)
{
  guint rounds[USERS];
  for (guint i = 0; i < USERS; i++)
    rounds[i] = shared->devices[i].round;
  for (guint i = 0; i < USERS; i++)
    for (guint left = 500; left > 0 && shared->devices[i].round < rounds[i] + 2; left--)
      g_usleep(10000);
}

static void
settle(void)
{
  for (guint looks = LOOKS_MAX;;) {
    check_alive();
    await_round();
    if (devices_agree() && clones_agree() && devices_agree())
      return;
    if (looks-- == 0)
      die("they do not come to one text");
    g_usleep(LOOK_US);
  }
}

/* ---- what has to be ---- */

/* Of another copy of the clone's that begins now: the caller's. */
static char *
text_of_clone(guint user)
{
  guint8 id[DOC_ROOM_COPY_LENGTH] = {1};
  DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
  Doppel__Room__Open open = DOPPEL__ROOM__OPEN__INIT;
  g_auto(Fd) fd = dial(user);
  g_autoptr(DocPair) pair = doc_pair_new(DOC_PAIR_DEVICE);
  g_autoptr(OtText) text = ot_text_new();
  guint64 length = G_MAXUINT64;
  open.document = wire_borrow(document.bytes, sizeof document.bytes);
  open.copy = wire_borrow(id, sizeof id);
  question.what_case = DOC_ROOM_ASK(OPEN);
  question.open = &open;
  doc_pair_begin(pair);
  if (fd < 0 || !wire_stream_send(fd, &question.base, NULL))
    die("user %u's clone is away", user);
  while (ot_text_length(text) != length) {
    for (GBytes *next; length != G_MAXUINT64 && (next = doc_pair_next(pair)); g_bytes_unref(next)) {
      DocRoomQuestion said = DOPPEL__ROOM__QUESTION__INIT;
      said.what_case = DOC_ROOM_ASK(PAIR);
      said.pair = wire_borrow_bytes(next);
      wire_stream_send(fd, &said.base, NULL);
    }
    g_autoptr(DocRoomAnswer) answer = receive(fd);
    g_autoptr(OtOp) shown = NULL;
    if (!answer || answer->what_case == DOC_ROOM_TELL(FAILED))
      die("user %u's clone does not say its text: %s", user, answer ? answer->failed->words : "it left");
    if (answer->what_case == DOC_ROOM_TELL(ROW))
      length = answer->row->length;
    else if (!doc_pair_take(pair, answer->pair.data, answer->pair.len, &shown, NULL))
      die("user %u's clone says what no clone says", user);
    if (shown && !ot_op_apply(shown, text, NULL))
      die("user %u's clone says what does not fit", user);
  }
  return ot_text_copy(text, 0, ot_text_length(text), NULL);
}

static void
check_same(const char *text)
{
  for (guint i = 0; i < USERS; i++) {
    g_autofree char *clone = text_of_clone(i);
    if (strcmp(clone, text) != 0)
      die("user %u's clone has another text than the devices: %zu bytes, and %zu", i, strlen(clone),
          strlen(text));
  }
}

/* Of what was typed and kept, all that nobody deleted, each once, and nothing else. */
static void
check_keys(const char *text)
{
  g_autoptr(GHashTable) there = g_hash_table_new(NULL, NULL);
  for (guint i = 0; i < USERS; i++)
    for (guint k = 0; k < shared->devices[i].typed; k++)
      if (shared->devices[i].keys[k] == KEY_KEPT) {
        g_hash_table_add(there, GUINT_TO_POINTER(key_letter(i, k)));
        counts.keys++;
      }
  for (guint i = 0; i < USERS; i++)
    for (guint k = 0; k < shared->devices[i].deleted; k++)
      counts.deleted += g_hash_table_remove(there, GUINT_TO_POINTER(shared->devices[i].gone[k]));
  for (const char *at = text; *at; at = g_utf8_next_char(at))
    if (!g_hash_table_remove(there, GUINT_TO_POINTER(g_utf8_get_char(at))))
      die("character %x is there, and was deleted, was there before, or was never typed",
          g_utf8_get_char(at));
  if (g_hash_table_size(there) > 0)
    die("%u keystrokes are lost", g_hash_table_size(there));
}

static void
leave(void)
{
  for (guint i = 0; i < USERS; i++) {
    DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
    Doppel__Room__Leave wanted = DOPPEL__ROOM__LEAVE__INIT;
    wanted.document = wire_borrow(document.bytes, sizeof document.bytes);
    question.leave = &wanted;
    g_autoptr(DocRoomAnswer) answer = ask(i, &question, DOC_ROOM_ASK(LEAVE));
    if (!answer || answer->what_case != DOC_ROOM_TELL(END))
      die("user %u cannot leave: %s", i,
          answer && answer->what_case == DOC_ROOM_TELL(FAILED) ? answer->failed->words : "");
  }
}

static void
run_schedule(guint number, guint32 seed)
{
  gint64 begun = g_get_monotonic_time();
  g_rand_set_seed(rand_now, seed);
  memset(shared->devices, 0, sizeof shared->devices);
  memset(joined, 0, sizeof joined);
  memset(&counts, 0, sizeof counts);
  memset(&shared->links, 0, sizeof shared->links);
  documents.kills = directory.kills = 0;
  shared->seed = seed;
  gather(pick(USERS));
  gint64 gathered = g_get_monotonic_time();
  live();
  gint64 lived = g_get_monotonic_time();
  settle();
  gint64 settled = g_get_monotonic_time();
  g_autofree char *text = g_strdup(shared->devices[0].text);
  for (guint i = 0; i < USERS; i++)
    life_end(&devices[i]);
  check_same(text);
  check_keys(text);
  leave();
  printf("ok %u - seed %u: %u keys, %u deleted; killed: devices %u times, clones %u, clonedocd %u, cloneds "
         "%u; links: %u cut, %u stalled, %u "
         "late, %u held; %.1f s to gather, %.1f lived, %.1f to settle, %.1f in all\n",
         number, seed, counts.keys, counts.deleted, counts.devices, counts.clones, counts.servers,
         counts.directories, shared->links.cuts, shared->links.stalls, shared->links.late, shared->links.held,
         (double)(gathered - begun) / 1e6, (double)(lived - gathered) / 1e6, (double)(settled - lived) / 1e6,
         (double)(g_get_monotonic_time() - begun) / 1e6);
  fflush(stdout);
}

/* ---- the world ---- */

static void
tell_trouble(void)
{
  for (guint i = 0; i < USERS && clones[i]; i++) {
    const DeviceShare *share = &shared->devices[i];
    g_autoptr(DocRoomAnswer) answer = clone_lives[i].pid > 0 ? row_of(i) : NULL;
    fprintf(stderr, "# user %u: device %s, %s%s, %zu bytes, \"%s\"; ", i,
            devices[i].pid > 0 ? "runs" : "does not run", share->settled ? "settled" : "not settled",
            share->current ? "" : ", not current", share->bytes, share->trouble);
    if (answer)
      fprintf(stderr,
              "clone: state %d, entry %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT
              " characters, %u members, %s, %s %s %s\n",
              answer->row->state, answer->row->number, answer->row->length, answer->row->members,
              answer->row->settled ? "settled" : "not settled", answer->row->up ? "up" : "down",
              answer->row->fault, answer->row->words);
    else
      fprintf(stderr, "clone: does not know the document\n");
  }
}

static void
start_links(void)
{
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    die("a socket: %s", g_strerror(errno));
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  links.count = LINKS_MAX;
  links.devices = ends[0];
  devices_fd = ends[1];
  for (guint i = 0; i < LINKS_MAX; i++) {
    links.port[i] = free_port();
    links.to[i] = free_port();
    addresses[i] = g_strdup_printf("127.0.0.1:%d", links.port[i]);
  }
  documents.address = g_strdup_printf("127.0.0.1:%d", links.to[USERS]);
  directory.address = g_strdup_printf("127.0.0.1:%d", links.to[USERS + 1]);
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0)
    die("fork: %s", g_strerror(errno));
  if (pid == 0) {
    close(ends[1]);
    links_run(&links, shared);
  }
  close(ends[0]);
}

static void
await_room(guint user)
{
  for (guint left = LOOKS_MAX; left > 0; left--) {
    DocRoomQuestion question = DOPPEL__ROOM__QUESTION__INIT;
    question.list = TRUE;
    g_autoptr(DocRoomAnswer) answer = ask(user, &question, DOC_ROOM_ASK(LIST));
    if (answer && answer->what_case == DOC_ROOM_TELL(END))
      return;
    g_usleep(50000);
  }
  die("user %u's clone keeps no documents", user);
}

static void
start_clones(void)
{
  g_autoptr(GPtrArray) places = g_ptr_array_new();
  g_autoptr(GError) error = NULL;
  g_autofree char *text = g_strdup_printf("%s=%s", addresses[USERS + 1], directory.key);
  DirectoryPlace *place = directory_place_parse(text, &error);
  if (!place)
    die("%s: %s", text, error->message);
  g_ptr_array_add(places, place);
  for (guint i = 0; i < USERS; i++) {
    g_autofree char *name = g_strdup_printf("user%u", i),
                    *address = g_strdup_printf("127.0.0.1:%d", links.to[i]);
    clones[i] = light_clone_new(folder, i + 1, name, address);
    clones[i]->told = addresses[i];
    clone_start(i);
    light_clone_bind(clones[i], places);
    light_clone_permit(clones[i], "*", "doc-invite");
    light_clone_permit(clones[i], "*", "doc-heads");
  }
  for (guint i = 0; i < USERS; i++)
    await_room(i);
  directory_place_free(place);
}

/* What the documents' server has is what it has signed. */
static void
check_server(void)
{
  g_autofree char *state = g_build_filename(folder, documents.name, NULL),
                  *log = g_strconcat(state, ".check", NULL);
  char *words[] = {documents.program, (char *)"check", (char *)"--state", state, NULL};
  int status = -1;
  waitpid(start_program(words, log), &status, 0);
  if (status != 0)
    die("clonedocd check finds something: see %s", log);
}

static void
end_all(void)
{
  for (guint i = 0; i < USERS; i++)
    clone_kill(i);
  life_end(&documents.life);
  life_end(&directory.life);
  check_server();
  g_autofree char *command = g_strdup_printf("rm -rf '%s'", folder);
  if (!keep && system(command) != 0)
    fprintf(stderr, "docs-schedules: %s stays\n", folder);
}

int
main(int argc, char **argv)
{
  const GOptionEntry entries[] = {
      {"clonedocd", 0, 0, G_OPTION_ARG_FILENAME, &documents.program, "The documents' server", "PROGRAM"},
      {"cloneds", 0, 0, G_OPTION_ARG_FILENAME, &directory.program, "The directory", "PROGRAM"},
      {"schedules", 0, 0, G_OPTION_ARG_INT, &schedules, "How many (default 3)", "N"},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &first_seed, "Of the first (default 1)", "S"},
      {"life", 0, 0, G_OPTION_ARG_INT, &life_ms, "How long things go wrong in each, at least (default 1500)",
       "MS"},
      {"keep", 0, 0, G_OPTION_ARG_NONE, &keep, "Leave the folder", NULL},
      {NULL},
  };
  g_autoptr(GOptionContext) context = g_option_context_new(NULL);
  g_autoptr(GError) error = NULL;
  g_option_context_add_main_entries(context, entries, NULL);
  if (!g_option_context_parse(context, &argc, &argv, &error) || !documents.program || !directory.program) {
    fprintf(stderr, "docs-schedules: %s\n", error ? error->message : "--clonedocd and --cloneds are needed");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  folder = g_dir_make_tmp("doppel-schedules-XXXXXX", NULL);
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  rand_now = g_rand_new_with_seed(0);
  documents.name = (char *)"clonedocd";
  directory.name = (char *)"cloneds";
  start_links();
  server_start(&documents);
  server_start(&directory);
  start_clones();
  printf("1..%d\n", schedules);
  fflush(stdout);
  for (int i = 0; i < schedules; i++)
    run_schedule((guint)i + 1, (guint32)(first_seed + i));
  end_all();
  return 0;
}
