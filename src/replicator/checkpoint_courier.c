#include "replicator/checkpoint_courier_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/io.h"

enum { FDS_MAX = 2, TEXT_MAX = 65536, LINK_EVERY = 16 };

struct CheckpointCourier {
  int control;
};

typedef struct {
  guint32 kind, count; /* READ: ranges that failed */
  guint64 bytes;
} Word;

/* ---- messages, with descriptors beside them ---- */

static gboolean
send_with(int socket_fd, const void *head, gsize head_length, const char *text, const int *fds, guint count)
{
  char room[CMSG_SPACE(sizeof(int) * FDS_MAX)] = {0};
  struct iovec pieces[2] = {{(void *)head, head_length}, {(void *)text, strlen(text)}};
  struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
  if (count) {
    message.msg_control = room;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * count);
    memcpy(CMSG_DATA(rights), fds, sizeof(int) * count);
  }
  ssize_t sent;
  while ((sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
    ;
  return sent >= 0;
}

/* Bytes received, 0 at the end, -1 with errno. `fds` has room for FDS_MAX, -1 where none came. */
static ssize_t
receive_with(int socket_fd, void *to, gsize length, int *fds, int flags)
{
  char room[CMSG_SPACE(sizeof(int) * FDS_MAX)] = {0};
  struct iovec piece = {to, length};
  struct msghdr message = {
      .msg_iov = &piece, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
  ssize_t got;
  for (guint i = 0; i < FDS_MAX; i++)
    fds[i] = -1;
  while ((got = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC | flags)) < 0 && errno == EINTR)
    ;
  struct cmsghdr *rights = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  if (rights && rights->cmsg_type == SCM_RIGHTS)
    memcpy(fds, CMSG_DATA(rights), MIN(rights->cmsg_len - CMSG_LEN(0), sizeof(int) * FDS_MAX));
  return got;
}

static int
memory_file(const char *name, const void *data, gsize length)
{
  g_auto(Fd) file = memfd_create(name, MFD_CLOEXEC);
  return file >= 0 && io_write_all(file, data, length) ? io_steal_fd(&file) : -1;
}

/* ---- the Controller's end ---- */

int
checkpoint_courier_fd(const CheckpointCourier *courier)
{
  return courier->control;
}

void
courier_word_clear(CourierWord *word)
{
  g_free(word->text);
  g_clear_pointer(&word->failed, g_array_unref);
}

static GArray *
read_ranges(int file, guint32 count)
{
  GArray *ranges = g_array_new(FALSE, FALSE, sizeof(MirrorRange));
  g_array_set_size(ranges, count);
  if (count && (file < 0 || pread(file, ranges->data, count * sizeof(MirrorRange), 0) !=
                                (ssize_t)(count * sizeof(MirrorRange))))
    g_array_set_size(ranges, 0);
  return ranges;
}

void
checkpoint_courier_hear(CheckpointCourier *courier, CourierWord *word)
{
  g_autofree char *room = g_malloc(sizeof(Word) + TEXT_MAX + 1);
  int fds[FDS_MAX];
  Word head;
  *word = (CourierWord){.kind = COURIER_NOTHING};
  ssize_t got = receive_with(courier->control, room, sizeof head + TEXT_MAX, fds, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
    return;
  word->kind = COURIER_GONE;
  if (got >= (ssize_t)sizeof head) {
    memcpy(&head, room, sizeof head);
    word->kind = (CourierWordKind)head.kind;
    word->bytes = head.bytes;
    word->text = g_strndup(room + sizeof head, (gsize)got - sizeof head);
    word->failed = head.kind == COURIER_READ ? read_ranges(fds[0], head.count) : NULL;
  }
  for (guint i = 0; i < FDS_MAX; i++)
    io_close(&fds[i]);
}

static gboolean
order(CheckpointCourier *courier, OrderKind kind, guint32 count, const int *fds, guint fd_count,
      GError **error)
{
  Order head = {kind, count};
  return send_with(courier->control, &head, sizeof head, "", fds, fd_count) ||
         doppel_error_errno(error, "the process that takes checkpoints to the clone is gone");
}

gboolean
checkpoint_courier_read(CheckpointCourier *courier, int memory, const GArray *runs, GError **error)
{
  g_auto(Fd) list = memory_file("runs", runs->data, runs->len * sizeof(MirrorRun));
  if (list < 0)
    return doppel_error_errno(error, "cannot keep a list of pages");
  return order(courier, ORDER_READ, runs->len, (const int[]){list, memory}, 2, error);
}

gboolean
checkpoint_courier_seal(CheckpointCourier *courier, int sealed, GError **error)
{
  g_auto(Fd) file = sealed;
  return order(courier, ORDER_SEAL, 0, &file, 1, error);
}

void
checkpoint_courier_abandon(CheckpointCourier *courier)
{
  order(courier, ORDER_ABANDON, 0, NULL, 0, NULL);
}

void
checkpoint_courier_end(CheckpointCourier *courier)
{
  order(courier, ORDER_END, 0, NULL, 0, NULL);
}

void
checkpoint_courier_free(CheckpointCourier *courier)
{
  io_close(&courier->control);
  g_free(courier);
}

/* ---- the courier's own ---- */

void
courier_say(Courier *courier, CourierWordKind kind, guint64 bytes, const char *text, const GArray *failed)
{
  Word head = {kind, failed ? failed->len : 0, bytes};
  g_autofree char *fits = g_strndup(text, TEXT_MAX - 1);
  g_auto(Fd) list = failed ? memory_file("ranges", failed->data, failed->len * sizeof(MirrorRange)) : -1;
  send_with(courier->control, &head, sizeof head, fits, &list, list >= 0);
}

static void
give_up(Courier *courier)
{
  g_clear_pointer(&courier->writer, checkpoint_writer_free);
  io_close(&courier->spool);
  courier_files_given_up(courier);
}

/* On the disk, since the first one is as large as the program. */
static gboolean
begin(Courier *courier, GError **error)
{
  if (courier->writer)
    return TRUE;
  g_autofree char *state = identity_directory();
  courier->spool = open(state, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (courier->spool < 0)
    courier->spool = memfd_create("checkpoint", MFD_CLOEXEC);
  if (courier->spool < 0)
    return doppel_error_errno(error, "cannot keep a checkpoint in %s", state);
  courier->writer = checkpoint_writer_new(courier->spool);
  return TRUE;
}

/* What cannot be read any more has changed since, and is read when the program stands still. */
static gboolean
read_run(Courier *courier, int memory, const MirrorRun *run, guint8 *room, MirrorRanges *failed,
         GError **error)
{
  if (run->kind == MIRROR_RUN_HOLE)
    return checkpoint_write_memory(courier->writer, run->address, run->length, NULL, error);
  for (guint64 at = 0; at < run->length; at += CHECKPOINT_PIECE) {
    guint64 length = MIN(run->length - at, CHECKPOINT_PIECE), address = run->address + at;
    if (pread(memory, room, length, (off_t)address) != (ssize_t)length)
      mirror_ranges_add(failed, address, address + length);
    else if (!checkpoint_write_memory(courier->writer, address, length, room, error))
      return FALSE;
    if (at / CHECKPOINT_PIECE % LINK_EVERY == LINK_EVERY - 1)
      courier_work_link(courier);
  }
  return TRUE;
}

static gboolean
read_runs(Courier *courier, int list, int memory, guint32 count, MirrorRanges *failed, GError **error)
{
  g_autofree guint8 *room = g_malloc(CHECKPOINT_PIECE);
  if (!begin(courier, error))
    return FALSE;
  for (guint32 i = 0; i < count; i++) {
    MirrorRun run;
    if (pread(list, &run, sizeof run, (off_t)(i * sizeof run)) != sizeof run)
      return doppel_error_errno(error, "cannot read a list of pages");
    if (!read_run(courier, memory, &run, room, failed, error))
      return FALSE;
  }
  return TRUE;
}

static void
on_read(Courier *courier, guint32 count, const int *fds)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GArray) failed = mirror_ranges_new();
  if (read_runs(courier, fds[0], fds[1], count, failed, &error)) {
    courier_say(courier, COURIER_READ, 0, "", failed);
    return;
  }
  give_up(courier);
  courier_say(courier, COURIER_FAILED, 0, error->message, NULL);
}

static gboolean
write_rest(Courier *courier, const guint8 *base, gsize length, guint64 *number, GError **error)
{
  const CourierSeal *seal = (const CourierSeal *)(const void *)base;
  const CourierPiece *pieces = (const CourierPiece *)(const void *)(base + seal->pieces_at);
  const CourierFile *files = (const CourierFile *)(const void *)(base + seal->files_at);
  g_autoptr(CheckpointState) state =
      checkpoint_state_unpack(base + seal->state_at, seal->state_length, error);
  if (!state)
    return FALSE;
  *number = state->number;
  if (state->whole)
    courier_files_forget(courier);
  for (guint32 i = 0; i < seal->pieces; i++)
    if (!checkpoint_write_memory(courier->writer, pieces[i].start, pieces[i].length,
                                 pieces[i].offset ? base + pieces[i].offset : NULL, error))
      return FALSE;
  return courier_files_write(courier, state, files, base, length, error) &&
         courier_files_named(courier, state, error) && checkpoint_write_state(courier->writer, state, error);
}

static void
on_seal(Courier *courier, int sealed)
{
  g_autoptr(GError) error = NULL;
  struct stat facts;
  guint64 number = 0;
  gboolean done = begin(courier, &error) && fstat(sealed, &facts) == 0;
  gsize length = done ? (gsize)facts.st_size : 0;
  void *base = done ? mmap(NULL, length, PROT_READ, MAP_SHARED, sealed, 0) : MAP_FAILED;
  if (base == MAP_FAILED && !error)
    doppel_error_errno(&error, "cannot read a checkpoint");
  done = base != MAP_FAILED && write_rest(courier, base, length, &number, &error);
  if (base != MAP_FAILED)
    munmap(base, length);
  done = done && courier_send(courier, number, &error);
  guint64 bytes = courier->writer ? checkpoint_writer_bytes(courier->writer) : 0;
  if (done)
    courier_files_kept(courier);
  give_up(courier);
  if (done)
    courier_say(courier, COURIER_KEPT, bytes, "", NULL);
  else
    courier_say(courier,
                g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_DENIED) ? COURIER_REFUSED : COURIER_FAILED,
                g_error_matches(error, DOPPEL_ERROR, DOPPEL_ERROR_MISMATCH), error->message, NULL);
}

/* FALSE: that was the last one. */
static gboolean
obey(Courier *courier)
{
  Order head;
  int fds[FDS_MAX];
  ssize_t got = receive_with(courier->control, &head, sizeof head, fds, 0);
  if (got != sizeof head)
    return FALSE;
  switch ((OrderKind)head.kind) {
  case ORDER_READ:
    on_read(courier, head.count, fds);
    break;
  case ORDER_SEAL:
    on_seal(courier, fds[0]);
    break;
  case ORDER_ABANDON:
    give_up(courier);
    break;
  case ORDER_END:
    courier_send_end(courier);
    courier_say(courier, COURIER_ENDED, 0, "", NULL);
    break;
  }
  for (guint i = 0; i < FDS_MAX; i++)
    io_close(&fds[i]);
  return TRUE;
}

static void
serve(Courier *courier)
{
  for (;;) {
    struct pollfd fds[1 + LINK_POLL_MAX] = {{.fd = courier->control, .events = POLLIN}};
    int timeout = -1;
    guint count = 1;
    courier_work_link(courier);
    if (courier->link)
      count += link_prepare(courier->link, fds + 1, &timeout);
    else
      timeout = clock_left_ms(courier->dial_at_ns);
    if (poll(fds, count, timeout) < 0 && errno != EINTR)
      return;
    if (fds[0].revents && !obey(courier))
      return;
  }
}

/* Nothing of the device's is held open here: a pipe that the program closes is to be closed. */
static void
leave_home(Courier *courier)
{
  sigset_t none;
  setsid();
  int null = open("/dev/null", O_RDWR), control = 3;
  for (int fd = 0; fd < (courier->spec->explain ? 2 : 3); fd++)
    dup2(null, fd);
  if (courier->control != control) {
    dup3(courier->control, control, O_CLOEXEC);
    courier->control = control;
  }
  close_range((unsigned)control + 1, ~0u, 0);
  for (int number = 1; number < NSIG; number++)
    signal(number, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  prctl(PR_SET_NAME, "doppel-courier");
}

G_NORETURN
static void
be_courier(Courier *courier)
{
  char host[256] = "";
  leave_home(courier);
  gethostname(host, sizeof host - 1);
  courier->host = g_strdup(host);
  courier->directory = g_get_current_dir();
  courier->dial_at_ns = clock_now_ns();
  courier_files_begin(courier);
  pace_begin(&courier->pace, courier->spec->rate, 0);
  if (getrandom(courier->run, sizeof courier->run, 0) == sizeof courier->run)
    serve(courier);
  give_up(courier);
  courier_files_clear(courier);
  g_clear_pointer(&courier->link, link_free);
  _exit(0);
}

CheckpointCourier *
checkpoint_courier_start(const CheckpointCourierSpec *spec, GError **error)
{
  int ends[2];
  Courier courier = {.spec = spec, .spool = -1};
  courier.clone = paired_find(spec->clone, error);
  courier.key = courier.clone ? identity_device_key(error) : NULL;
  gboolean ready = courier.key != NULL;
  if (ready && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
    ready = doppel_error_errno(error, "making a socket pair");
  pid_t between = ready ? fork() : 0;
  if (ready && between == 0) {
    /* Of its own, so that who waits for its children never sees it. */
    courier.control = ends[1];
    if (fork() == 0)
      be_courier(&courier);
    _exit(0);
  }
  g_clear_pointer(&courier.key, identity_key_free);
  g_clear_pointer(&courier.clone, paired_clone_free);
  if (!ready)
    return NULL;
  close(ends[1]);
  if (between < 0) {
    close(ends[0]);
    doppel_error_errno(error, "starting the process that takes checkpoints to the clone");
    return NULL;
  }
  while (waitpid(between, NULL, 0) < 0 && errno == EINTR)
    ;
  CheckpointCourier *started = g_new(CheckpointCourier, 1);
  started->control = ends[0];
  return started;
}
