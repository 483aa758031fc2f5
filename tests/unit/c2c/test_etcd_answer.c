/* What is believed of the answers of etcd's gateway, and what is not. */
#include <string.h>

#include "base/error.h"
#include "c2c/etcd_client.h"

#define HEADER "\"header\":{\"revision\":\"12\"}"

static EtcdAnswer *
parse(const char *text, guint operations, GError **error)
{
  return etcd_answer_parse(text, strlen(text), operations, error);
}

static void
test_pairs(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EtcdAnswer) answer =
      parse("{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{" HEADER "}},"
            "{\"response_range\":{\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"9\",\"value\":\"AP8=\"},"
            "{\"key\":\"Yg==\",\"mod_revision\":\"10\"}],\"more\":true,\"count\":\"5\"}}]}",
            2, &error);
  g_assert_no_error(error);
  g_assert_true(answer->succeeded);
  g_assert_cmpint(answer->revision, ==, 12);
  const EtcdResult *result = answer->results->pdata[1];
  g_assert_cmpuint(result->count, ==, 5);
  g_assert_cmpuint(result->pairs->len, ==, 2);
  const EtcdPair *first = result->pairs->pdata[0], *second = result->pairs->pdata[1];
  g_assert_cmpint(first->revision, ==, 9);
  g_assert_cmpmem(g_bytes_get_data(first->key, NULL), g_bytes_get_size(first->key), "a", 1);
  g_assert_cmpmem(g_bytes_get_data(first->value, NULL), g_bytes_get_size(first->value), "\0\xff", 2);
  g_assert_cmpuint(g_bytes_get_size(second->value), ==, 0);
}

/* What is false is left out. */
static void
test_failed_comparison(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EtcdAnswer) answer = parse("{" HEADER "}", 3, &error);
  g_assert_no_error(error);
  g_assert_false(answer->succeeded);
  g_assert_cmpuint(answer->results->len, ==, 0);
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
      "{\"succeeded\":true}",
      "{" HEADER ",\"succeeded\":\"yes\"}",
      "{" HEADER ",\"succeeded\":true}",
      "{" HEADER ",\"succeeded\":true,\"responses\":7}",
      "{" HEADER ",\"succeeded\":true,\"responses\":[{},{}]}",
      "{" HEADER ",\"responses\":[{}]}",
      "{" HEADER ",\"succeeded\":true,\"responses\":[7]}",
      "{\"header\":{\"revision\":\"-1\"}}",
      "{\"header\":{\"revision\":12}}",
      "{\"header\":{\"revision\":\"99999999999999999999\"}}",
      "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":[]}]}",
      "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":{},\"count\":\"1\"}}]}",
      "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"YQ==\"}]}}]}",
      "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"Y=Q=\"}],"
      "\"count\":\"1\"}}]}",
      "{" HEADER
      ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":7}],\"count\":\"1\"}}]}",
      "{" HEADER
      ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[\"YQ==\"],\"count\":\"1\"}}]}",
  };
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autoptr(GError) error = NULL;
    g_test_message("%s", wrong[i]);
    g_assert_null(parse(wrong[i], 1, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
  }
}

/* As deep as the parser's stack would never do. */
static void
test_depth(void)
{
  g_autofree char *deep = g_strnfill(4 << 20, '[');
  g_autoptr(GError) error = NULL;
  g_assert_null(parse(deep, 1, &error));
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_HOSTILE);
}

static void
test_endpoints(void)
{
  static const char *const wrong[] = {"",           "host",        "host:", ":2379", "host:0",
                                      "host:70000", "user@host:1", "a b:1", "h/x:1"};
  for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
    g_autoptr(GError) error = NULL;
    g_assert_null(etcd_client_new((const char *const[]){wrong[i], NULL}, &error));
    g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_USAGE);
  }
}

/* Nobody there: an error in the time that was given, which names what was asked. */
static void
test_patience(void)
{
  g_autoptr(GError) error = NULL;
  g_autoptr(EtcdClient) client =
      etcd_client_new((const char *const[]){"127.0.0.1:1", "127.0.0.1:2", NULL}, &error);
  g_assert_no_error(error);
  etcd_client_patience(client, 300, 100);
  g_autoptr(EtcdTxn) txn = etcd_txn_new();
  g_autoptr(GBytes) key = g_bytes_new("k", 1);
  etcd_txn_range(txn, key, NULL, 0, ETCD_PAIRS);
  gint64 begin = g_get_monotonic_time();
  g_autoptr(EtcdAnswer) answer = etcd_client_run(client, txn, &error);
  gint64 took = g_get_monotonic_time() - begin;
  g_assert_null(answer);
  g_assert_error(error, DOPPEL_ERROR, DOPPEL_ERROR_GONE);
  g_assert_nonnull(strstr(error->message, "127.0.0.1"));
  g_assert_cmpint(took, >=, 290000);
  g_assert_cmpint(took, <, 5000000);
}

int
main(int argc, char **argv)
{
  g_test_init(&argc, &argv, NULL);
  g_test_add_func("/etcd/answer/pairs", test_pairs);
  g_test_add_func("/etcd/answer/failed-comparison", test_failed_comparison);
  g_test_add_func("/etcd/answer/nonsense", test_nonsense);
  g_test_add_func("/etcd/answer/depth", test_depth);
  g_test_add_func("/etcd/client/endpoints", test_endpoints);
  g_test_add_func("/etcd/client/patience", test_patience);
  return g_test_run();
}
