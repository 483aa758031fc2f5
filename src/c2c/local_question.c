#include "c2c/local_question.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/io.h"
#include "c2c/fd_source.h"
#include "wire/message.h"

enum { ID = 1 };

struct LocalQuestion {
  Fd fd;
  GSource *source;
  LocalAnswered answered;
  void *data;
};

static int
connect_to(const char *path)
{
  struct sockaddr_un address;
  g_auto(Fd) directory = -1;
  g_auto(Fd) fd = -1;
  if (local_packet_address(path, &address, &directory) == 0)
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
    return -1;
  return io_steal_fd(&fd);
}

/* One reply a turn: whoever hears it may free the question. */
static gboolean
on_ready(GIOCondition ready, void *data)
{
  LocalQuestion *question = data;
  g_autofree guint8 *packet = g_malloc(LOCAL_MESSAGE_MAX);
  g_auto(Fd) fd = -1;
  gssize length = local_packet_receive(question->fd, packet, LOCAL_MESSAGE_MAX, &fd, MSG_DONTWAIT);
  if (length < 0 && errno == EAGAIN)
    return G_SOURCE_CONTINUE;
  g_autoptr(LocalReply) reply = length > 0 ? local_reply_unpack(packet, length, NULL) : NULL;
  gboolean more = reply && reply->more && reply->id == ID;
  question->answered(question, reply, reply ? io_steal_fd(&fd) : -1, question->data);
  return more ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

LocalQuestion *
local_question_new(const char *path, GMainContext *context, const LocalRequest *request,
                   LocalAnswered answered, void *data, GError **error)
{
  LocalRequest numbered = *request;
  numbered.id = ID;
  g_autoptr(GBytes) bytes = wire_pack(&numbered.base);
  g_auto(Fd) fd = connect_to(path);
  if (fd < 0 ||
      local_packet_send(fd, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes), -1, MSG_DONTWAIT) < 0) {
    doppel_error_set(error, DOPPEL_ERROR_GONE, "the clone's node cannot be asked: %s", g_strerror(errno));
    return NULL;
  }
  LocalQuestion *question = g_new0(LocalQuestion, 1);
  *question = (LocalQuestion){.answered = answered, .data = data};
  question->fd = io_steal_fd(&fd);
  question->source = fd_source_new(question->fd, G_IO_IN, context, on_ready, question);
  return question;
}

void
local_question_pause(LocalQuestion *question, gboolean paused)
{
  fd_source_want(question->source, paused ? 0 : G_IO_IN);
}

void
local_question_free(LocalQuestion *question)
{
  if (!question)
    return;
  fd_source_free(question->source);
  io_close(&question->fd);
  g_free(question);
}
