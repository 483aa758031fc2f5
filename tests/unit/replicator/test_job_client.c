/* A device that asks about its jobs, and a clone that lies. */
#include <glib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "replicator/job_client.h"

/* The device, and the clone's end of its link, whose answers are there before they are asked for. */
typedef struct {
  JobClient client;
  Link *clone;
} World;

static void
set_up(World *world, gconstpointer unused)
{
  int ends[2];
  g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
  world->client.link = link_new_local(ends[0]);
  world->clone = link_new_local(ends[1]);
}

static void
tear_down(World *world, gconstpointer unused)
{
  g_clear_pointer(&world->client.link, link_free);
  g_clear_pointer(&world->clone, link_free);
}

static void
answer_number(World *world, guint64 number)
{
  Doppel__Wire__JobNumber answer = DOPPEL__WIRE__JOB_NUMBER__INIT;
  answer.job = number;
  g_assert_true(JOB_SEND(world->clone, NUMBER, number, &answer, NULL));
}

static void
answer_summary(World *world, guint64 number, Doppel__Wire__JobState__Phase phase)
{
  JobState state = DOPPEL__WIRE__JOB_STATE__INIT;
  JobSummary answer = DOPPEL__WIRE__JOB_SUMMARY__INIT;
  state.phase = phase;
  answer.job = number;
  answer.state = &state;
  g_assert_true(JOB_SEND(world->clone, SUMMARY, summary, &answer, NULL));
}

static void
answer_bytes(World *world, guint64 offset, const char *text, gboolean last)
{
  Doppel__Wire__JobBytes answer = DOPPEL__WIRE__JOB_BYTES__INIT;
  answer.offset = offset;
  answer.bytes = (ProtobufCBinaryData){strlen(text), (guint8 *)text};
  answer.last = last;
  g_assert_true(JOB_SEND(world->clone, BYTES, bytes, &answer, NULL));
}

static void
answer_refusal(World *world, guint32 code, const char *reason)
{
  Doppel__Wire__JobRefusal answer = DOPPEL__WIRE__JOB_REFUSAL__INIT;
  answer.code = code;
  answer.reason = (char *)reason;
  g_assert_true(JOB_SEND(world->clone, REFUSAL, refusal, &answer, NULL));
}

static gboolean
collect_text(guint64 offset, const guint8 *bytes, gsize length, gpointer user, GError **error)
{
  g_string_append_len(user, (const char *)bytes, (gssize)length);
  return TRUE;
}

static void
test_list(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  answer_summary(world, 3, DOPPEL__WIRE__JOB_STATE__PHASE__ENDED);
  answer_summary(world, 7, DOPPEL__WIRE__JOB_STATE__PHASE__RUNNING);
  answer_number(world, 2);
  g_autoptr(GPtrArray) jobs = job_client_list(&world->client, &error);
  g_assert_no_error(error);
  g_assert_cmpuint(jobs->len, ==, 2);
  g_assert_cmpuint(((JobMessage *)jobs->pdata[1])->summary->job, ==, 7);
}

static void
test_list_lies(World *world, gconstpointer which)
{
  g_autoptr(GError) error = NULL;
  answer_summary(world, 3, DOPPEL__WIRE__JOB_STATE__PHASE__ENDED);
  if (GPOINTER_TO_INT(which) == 0)
    answer_summary(world, 3, DOPPEL__WIRE__JOB_STATE__PHASE__ENDED); /* one job twice */
  else
    answer_number(world, 2); /* more than there came */
  g_assert_null(job_client_list(&world->client, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
test_wait_lies(World *world, gconstpointer which)
{
  g_autoptr(GError) error = NULL;
  if (GPOINTER_TO_INT(which) == 0)
    answer_summary(world, 8, DOPPEL__WIRE__JOB_STATE__PHASE__ENDED); /* another one */
  else if (GPOINTER_TO_INT(which) == 1)
    answer_summary(world, 7, DOPPEL__WIRE__JOB_STATE__PHASE__RUNNING); /* that is not over */
  else
    answer_bytes(world, 0, "no summary", TRUE);
  g_assert_null(job_client_wait(&world->client, 7, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
test_bytes(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GString) text = g_string_new(NULL);
  guint64 offset = 5;
  answer_bytes(world, 5, "one ", FALSE);
  answer_bytes(world, 9, "two", FALSE);
  answer_bytes(world, 12, "", TRUE);
  g_assert_true(job_client_logs(&world->client, 7, FALSE, 0, &offset, collect_text, text, NULL, &error));
  g_assert_no_error(error);
  g_assert_cmpstr(text->str, ==, "one two");
  g_assert_cmpuint(offset, ==, 12);
}

/* Of one stream: what is not wanted is passed over, and never gone back to. */
static void
test_gaps(World *world, gconstpointer which)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GString) text = g_string_new(NULL);
  guint64 offset = 0;
  answer_bytes(world, 5, "one ", FALSE);
  answer_bytes(world, 100, "", FALSE);
  answer_bytes(world, GPOINTER_TO_INT(which), "two", FALSE);
  answer_bytes(world, JOB_WINDOW, "", FALSE);
  answer_bytes(world, JOB_WINDOW + 7, "", TRUE);
  gboolean good =
      job_client_logs(&world->client, 7, FALSE, JOB_LOGS_STDERR, &offset, collect_text, text, NULL, &error);
  if (GPOINTER_TO_INT(which) < 100) {
    g_assert_false(good);
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
    g_assert_cmpstr(text->str, ==, "one ");
    return;
  }
  g_assert_no_error(error);
  g_assert_cmpstr(text->str, ==, "one two");
  g_assert_cmpuint(offset, ==, JOB_WINDOW + 7);
}

/* An answer that says nothing, for ever. */
static void
test_nothing(World *world, gconstpointer streams)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GString) text = g_string_new(NULL);
  guint64 offset = 5;
  answer_bytes(world, 5, "", FALSE);
  g_assert_false(job_client_logs(&world->client, 7, FALSE, GPOINTER_TO_UINT(streams), &offset, collect_text,
                                 text, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

/* Bytes that leave something out, or come twice, would be put where they do not belong. */
static void
test_bytes_lie(World *world, gconstpointer shift)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(GString) text = g_string_new(NULL);
  guint64 offset = 5;
  answer_bytes(world, 5, "one", FALSE);
  answer_bytes(world, 8 + GPOINTER_TO_INT(shift), "two", TRUE);
  g_assert_false(job_client_fetch(&world->client, 7, &offset, collect_text, text, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_assert_cmpstr(text->str, ==, "one");
  g_assert_cmpuint(offset, ==, 8);
}

static void
test_number_lies(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  answer_number(world, 8);
  g_assert_false(job_client_collected(&world->client, 7, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  g_clear_error(&error);
  JobRequest request = DOPPEL__WIRE__JOB_REQUEST__INIT;
  answer_number(world, 0);
  g_assert_cmpuint(job_client_start(&world->client, &request, &error), ==, 0);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

/* What the clone says is shown to a person, on a terminal, and is not to be taken for the link's end. */
static void
test_refusal(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  answer_refusal(world, DOPPEL_ERROR_GONE, "\033[2J\nI am \"gone\"");
  g_assert_false(job_client_kill(&world->client, 7, FALSE, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
  g_assert_cmpstr(error->message, ==, "\\033[2J\\nI am \"gone\"");
  g_clear_error(&error);
  answer_refusal(world, 4711, "");
  g_assert_false(job_client_kill(&world->client, 7, FALSE, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_FAILED);
}

static void
test_gone(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_clear_pointer(&world->clone, link_free);
  g_assert_null(job_client_wait(&world->client, 7, NULL, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
}

static void
test_other_channel(World *world, gconstpointer unused)
{
  g_autoptr(GError) error = NULL;
  g_assert_true(link_send(world->clone, JOB_CHANNEL + 1, &(struct iovec){(void *)"x", 1}, 1, NULL));
  g_assert_null(job_client_list(&world->client, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

#define ADD(name, data, function)                                                                            \
  g_test_add("/job-client/" name, World, GINT_TO_POINTER(data), set_up, function, tear_down)

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  ADD("list", 0, test_list);
  ADD("list/one-twice", 0, test_list_lies);
  ADD("list/more-than-came", 1, test_list_lies);
  ADD("wait/another", 0, test_wait_lies);
  ADD("wait/not-over", 1, test_wait_lies);
  ADD("wait/no-summary", 2, test_wait_lies);
  ADD("bytes", 0, test_bytes);
  ADD("bytes/a-gap", 1, test_bytes_lie);
  ADD("bytes/twice", -1, test_bytes_lie);
  ADD("bytes/of-one-stream", 200, test_gaps);
  ADD("bytes/back", 99, test_gaps);
  ADD("bytes/nothing", 0, test_nothing);
  ADD("bytes/nothing-of-one-stream", JOB_LOGS_STDOUT, test_nothing);
  ADD("number", 0, test_number_lies);
  ADD("refusal", 0, test_refusal);
  ADD("gone", 0, test_gone);
  ADD("other-channel", 0, test_other_channel);
  return g_test_run();
}
