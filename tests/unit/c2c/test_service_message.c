/* Messages of services, and others who do not keep up with them. */
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "c2c/service_message.h"
#include "wire/c2c.pb-c.h"

#define NS_PER_SECOND G_GINT64_CONSTANT(1000000000)

static gboolean
is_good(gconstpointer message)
{
  return TRUE;
}

static const ServiceShape shape = {&doppel__wire__local_control__descriptor, is_good, "a message"};

static void
make_pair(int ends[2], guint patience_s)
{
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  service_message_patience(ends[0], patience_s);
}

/* What fits in no socket's buffer is there in a few. */
static gboolean
send_some(int fd, GError **error)
{
  static guint8 bytes[SERVICE_CHUNK];
  Doppel__Wire__LocalControl message = DOPPEL__WIRE__LOCAL_CONTROL__INIT;
  message.body = (ProtobufCBinaryData){sizeof bytes, bytes};
  return service_message_send(fd, &message.base, error);
}

/* Who reads nothing is given up, when the time is over and not before. */
static void
test_deaf(void)
{
  g_autoptr(GError) error = NULL;
  int ends[2];
  make_pair(ends, 1);
  gint64 began = clock_now_ns();
  guint sent = 0;
  while (send_some(ends[0], &error))
    g_assert_cmpuint(++sent, <, 1000);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_assert_cmpint(clock_now_ns() - began, >=, NS_PER_SECOND * 9 / 10);
  close(ends[0]);
  close(ends[1]);
}

static void *
read_slowly(void *data)
{
  char bytes[60000];
  while (read(GPOINTER_TO_INT(data), bytes, sizeof bytes) > 0)
    g_usleep(100000);
  return NULL;
}

/* Who reads slowly is waited for, also for longer than that in all. */
static void
test_slow(void)
{
  g_autoptr(GError) error = NULL;
  int ends[2];
  make_pair(ends, 5);
  GThread *reader = g_thread_new("reader", read_slowly, GINT_TO_POINTER(ends[1]));
  gint64 began = clock_now_ns();
  while (clock_now_ns() - began < 8 * NS_PER_SECOND) {
    send_some(ends[0], &error);
    g_assert_no_error(error);
  }
  close(ends[0]);
  g_thread_join(reader);
  close(ends[1]);
}

/* Who says nothing, and who stops within a message. */
static void
test_silent(void)
{
  static const char *const said[] = {"", "\0\0", "\0\0\1\0half"};
  static const gsize lengths[] = {0, 2, 8};
  for (guint i = 0; i < G_N_ELEMENTS(said); i++) {
    g_autoptr(GError) error = NULL;
    int ends[2];
    make_pair(ends, 1);
    if (lengths[i] > 0)
      g_assert_cmpint(write(ends[1], said[i], lengths[i]), ==, lengths[i]);
    g_assert_null(service_message_receive(ends[0], &shape, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
    close(ends[0]);
    close(ends[1]);
  }
}

/* A length is looked at before anything is made for it. */
static void
test_long(void)
{
  g_autoptr(GError) error = NULL;
  int ends[2];
  make_pair(ends, 5);
  g_assert_cmpint(write(ends[1], "\x7f\xff\xff\xff", 4), ==, 4);
  g_assert_null(service_message_receive(ends[0], &shape, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  close(ends[0]);
  close(ends[1]);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/service-message/deaf", test_deaf);
  g_test_add_func("/service-message/slow", test_slow);
  g_test_add_func("/service-message/silent", test_silent);
  g_test_add_func("/service-message/long", test_long);
  return g_test_run();
}
