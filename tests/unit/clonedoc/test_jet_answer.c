/* What is believed of NATS JetStream's answers, and what is not. */
#include <string.h>

#include "clonedoc/server/jet_answer.h"

static gboolean
read_ack(const char *text, JetAck *ack)
{
  return jet_answer_ack(ack, text, strlen(text), "doppel-documents");
}

static void
test_stored(void)
{
  JetAck ack;
  g_assert_true(read_ack("{\"stream\":\"doppel-documents\",\"seq\":17}", &ack));
  g_assert_cmpint(ack.fate, ==, JET_STORED);
  g_assert_cmpuint(ack.sequence, ==, 17);
  g_assert_true(
      read_ack("{\"stream\":\"doppel-documents\",\"domain\":\"d\",\"seq\":9223372036854775807}", &ack));
  g_assert_cmpuint(ack.sequence, ==, G_MAXINT64);
}

static void
test_refused(void)
{
  static const struct {
    const char *text;
    JetFate fate;
    const char *words;
  } cases[] = {
      {"{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last sequence: 4\"},"
       "\"stream\":\"doppel-documents\",\"seq\":0}",
       JET_OTHERWISE, "wrong last sequence: 4"},
      {"{\"error\":{\"code\":503,\"err_code\":10008,\"description\":\"a\\u001bb\"}}", JET_LATER, "a\\033b"},
      {"{\"error\":{\"code\":500,\"err_code\":10047}}", JET_LATER, ""},
      {"{\"error\":{\"code\":400,\"err_code\":10054,\"description\":7}}", JET_REFUSED, ""},
      /* Whatever else it says: it is an error. */
      {"{\"error\":{\"code\":400},\"stream\":\"doppel-documents\",\"seq\":3}", JET_REFUSED, ""},
  };
  for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
    JetAck ack;
    g_assert_true(read_ack(cases[i].text, &ack));
    g_assert_cmpint(ack.fate, ==, cases[i].fate);
    g_assert_cmpstr(ack.words, ==, cases[i].words);
    g_assert_cmpuint(ack.sequence, ==, 0);
  }
}

static void
test_nonsense(void)
{
  static const char *const wrong[] = {
      "",
      "null",
      "[]",
      "{",
      "{}",
      "{\"seq\":3}",
      "{\"stream\":\"doppel-documents\"}",
      "{\"stream\":\"doppel-others\",\"seq\":3}",
      "{\"stream\":[\"doppel-documents\"],\"seq\":3}",
      "{\"stream\":\"doppel-documents\",\"seq\":0}",
      "{\"stream\":\"doppel-documents\",\"seq\":-3}",
      "{\"stream\":\"doppel-documents\",\"seq\":\"3\"}",
      "{\"stream\":\"doppel-documents\",\"seq\":3.5}",
      "{\"stream\":\"doppel-documents\",\"seq\":{}}",
      "{\"stream\":\"doppel-\xff\",\"seq\":3}",
      "{\"error\":7}",
      "{\"error\":{}}",
      "{\"error\":{\"code\":\"400\"}}",
  };
  JetAck ack;
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++)
    g_assert_false(read_ack(wrong[i], &ack));
  /* Before the parser goes down into it. */
  g_autofree char *deep = g_strnfill(JET_ACK_MAX - 1, '[');
  g_assert_false(read_ack(deep, &ack));
  g_autofree char *spaces = g_strnfill(JET_ACK_MAX, ' ');
  g_autofree char *large = g_strconcat("{\"stream\":\"doppel-documents\",\"seq\":3}", spaces, NULL);
  g_assert_false(read_ack(large, &ack));
  g_assert_false(jet_answer_ack(&ack, "{\"stream\":\"s\",\"seq\":3}\0", 24, "s"));
}

static void
test_numbers(void)
{
  static const char *const wrong[] = {NULL, "", "-1", "+1", " 1", "1 ", "01", "1x", "9223372036854775808",
                                      "x"};
  guint64 number = 7;
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++)
    g_assert_false(jet_answer_number(wrong[i], &number));
  g_assert_true(jet_answer_number("0", &number));
  g_assert_cmpuint(number, ==, 0);
  g_assert_true(jet_answer_number("9223372036854775807", &number));
  g_assert_cmpuint(number, ==, G_MAXINT64);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/doc/jet-answer/stored", test_stored);
  g_test_add_func("/doc/jet-answer/refused", test_refused);
  g_test_add_func("/doc/jet-answer/nonsense", test_nonsense);
  g_test_add_func("/doc/jet-answer/numbers", test_numbers);
  return g_test_run();
}
