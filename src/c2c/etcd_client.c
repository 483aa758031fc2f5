#include "c2c/etcd_client.h"

#include <curl/curl.h>
#include <jansson.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define TOTAL_MS   15000
#define ATTEMPT_MS 3000
#define CONNECT_MS 1000
/* Between two rounds of all endpoints: an election takes a second. */
#define PAUSE_US 100000
/* Operations of one transaction within another: what is left of the limit when the outer one's are taken off.
 */
#define NESTED 100
G_STATIC_ASSERT(ETCD_WRITES_MAX / NESTED + NESTED < ETCD_OPERATIONS_MAX);

struct EtcdClient {
  CURL *curl;
  struct curl_slist *headers;
  GPtrArray *urls;
  guint next; /* the endpoint that answered last */
  int total_ms, attempt_ms;
};

struct EtcdTxn {
  GString *compares;     /* elements of a JSON array */
  GPtrArray *operations; /* one each */
  gsize bytes;
  gboolean writes;
};

EtcdTxn *
etcd_txn_new(void)
{
  EtcdTxn *txn = g_new0(EtcdTxn, 1);
  txn->compares = g_string_new(NULL);
  txn->operations = g_ptr_array_new_with_free_func(g_free);
  return txn;
}

void
etcd_txn_free(EtcdTxn *txn)
{
  g_string_free(txn->compares, TRUE);
  g_ptr_array_unref(txn->operations);
  g_free(txn);
}

guint
etcd_txn_operations(const EtcdTxn *txn)
{
  return txn->operations->len;
}

gsize
etcd_txn_bytes(const EtcdTxn *txn)
{
  return txn->bytes;
}

/* "NAME":"BASE64": needs no escapes. */
static void
append_bytes(EtcdTxn *txn, GString *json, const char *name, GBytes *bytes)
{
  gsize length;
  const guchar *data = g_bytes_get_data(bytes, &length);
  g_autofree char *text = g_base64_encode(data, length);
  g_string_append_printf(json, "\"%s\":\"%s\"", name, text);
  txn->bytes += length;
}

void
etcd_txn_compare(EtcdTxn *txn, GBytes *key, gint64 revision)
{
  GString *json = txn->compares;
  g_string_append(json, json->len ? ",{" : "{");
  append_bytes(txn, json, "key", key);
  g_string_append_printf(
      json, ",\"result\":\"EQUAL\",\"target\":\"MOD\",\"mod_revision\":\"%" G_GINT64_FORMAT "\"}", revision);
}

static void
add_operation(EtcdTxn *txn, GString *json)
{
  g_string_append(json, "}}");
  g_ptr_array_add(txn->operations, g_string_free(json, FALSE));
}

void
etcd_txn_put(EtcdTxn *txn, GBytes *key, GBytes *value)
{
  GString *json = g_string_new("{\"request_put\":{");
  append_bytes(txn, json, "key", key);
  g_string_append_c(json, ',');
  append_bytes(txn, json, "value", value);
  add_operation(txn, json);
  txn->writes = TRUE;
}

void
etcd_txn_delete(EtcdTxn *txn, GBytes *key)
{
  GString *json = g_string_new("{\"request_delete_range\":{");
  append_bytes(txn, json, "key", key);
  add_operation(txn, json);
  txn->writes = TRUE;
}

void
etcd_txn_range(EtcdTxn *txn, GBytes *from, GBytes *end, guint limit, EtcdWhat what)
{
  GString *json = g_string_new("{\"request_range\":{");
  append_bytes(txn, json, "key", from);
  if (end) {
    g_string_append_c(json, ',');
    append_bytes(txn, json, "range_end", end);
  }
  if (limit)
    g_string_append_printf(json, ",\"limit\":\"%u\"", limit);
  if (what != ETCD_PAIRS)
    g_string_append(json, what == ETCD_KEYS ? ",\"keys_only\":true" : ",\"count_only\":true");
  add_operation(txn, json);
}

static void
append_operations(const EtcdTxn *txn, GString *json)
{
  gboolean nested = txn->operations->len > ETCD_OPERATIONS_MAX;
  for (guint i = 0; i < txn->operations->len; i++) {
    if (nested && i % NESTED == 0)
      g_string_append_printf(json, "%s{\"request_txn\":{\"success\":[", i ? "]}}," : "");
    else if (i > 0)
      g_string_append_c(json, ',');
    g_string_append(json, txn->operations->pdata[i]);
  }
  g_string_append(json, nested ? "]}}]}" : "]}");
}

/* HOST:PORT of what can stand in a URL's authority, and nothing that means something else there. */
static gboolean
check_endpoint(const char *endpoint, GError **error)
{
  const char *port = strrchr(endpoint, ':');
  guint64 number;
  if (port && port > endpoint && g_ascii_string_to_unsigned(port + 1, 10, 1, 65535, &number, NULL) &&
      strspn(endpoint, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS ".-_:[]") == strlen(endpoint))
    return TRUE;
  return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                          "\"%s\" is no address of an etcd member: HOST:PORT is, as in 10.0.0.1:2379",
                          endpoint);
}

static CURL *
new_handle(struct curl_slist *headers)
{
  CURL *curl = curl_easy_init();
  if (!curl)
    return NULL;
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
  /* Proxies of the environment are for the world outside. */
  curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(curl, CURLOPT_POST, 1L);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
  curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
  return curl;
}

EtcdClient *
etcd_client_new(const char *const *endpoints, GError **error)
{
  static gsize once = 0;
  if (g_once_init_enter(&once))
    g_once_init_leave(&once, curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 1 : 2);
  g_autoptr(EtcdClient) client = g_new0(EtcdClient, 1);
  client->urls = g_ptr_array_new_with_free_func(g_free);
  client->total_ms = TOTAL_MS;
  client->attempt_ms = ATTEMPT_MS;
  for (; *endpoints; endpoints++) {
    if (!check_endpoint(*endpoints, error))
      return NULL;
    g_ptr_array_add(client->urls, g_strdup_printf("http://%s/v3/kv/txn", *endpoints));
  }
  if (client->urls->len == 0) {
    doppel_error_set(error, DOPPEL_ERROR_USAGE, "no member of the etcd cluster is named");
    return NULL;
  }
  client->headers = curl_slist_append(NULL, "Content-Type: application/json");
  /* No "100 Continue" first: it would cost a round trip. */
  client->headers = curl_slist_append(client->headers, "Expect:");
  client->curl = once == 1 ? new_handle(client->headers) : NULL;
  if (!client->curl) {
    doppel_error_set(error, DOPPEL_ERROR_FAILED, "libcurl cannot be used");
    return NULL;
  }
  return g_steal_pointer(&client);
}

void
etcd_client_free(EtcdClient *client)
{
  if (client->curl)
    curl_easy_cleanup(client->curl);
  curl_slist_free_all(client->headers);
  g_ptr_array_unref(client->urls);
  g_free(client);
}

void
etcd_client_patience(EtcdClient *client, int total_ms, int attempt_ms)
{
  client->total_ms = total_ms;
  client->attempt_ms = attempt_ms;
}

static size_t
take(char *data, size_t size, size_t count, void *user)
{
  GString *body = user;
  gsize length = size * count;
  if (length > ETCD_ANSWER_MAX - body->len)
    return 0;
  g_string_append_len(body, data, length);
  return length;
}

/* gRPC's code of a refusal, which its gateway puts into the body; 0 where there is none. */
static gint64
refusal(const GString *body, char **words)
{
  json_auto_t *root = body->len <= 4096 ? json_loadb(body->str, body->len, 0, NULL) : NULL;
  *words = g_strdup(json_string_value(json_object_get(root, "error")));
  return json_integer_value(json_object_get(root, "code"));
}

typedef enum { ANSWERED, REFUSED, UNKNOWN } Attempt;

static Attempt
judge(const GString *body, long status, const char *url, GError **error)
{
  enum { DEADLINE_EXCEEDED = 4, UNAVAILABLE = 14 };
  if (status == 200)
    return ANSWERED;
  g_autofree char *words = NULL;
  gint64 code = refusal(body, &words);
  g_autofree char *shown = words ? g_strescape(words, NULL) : g_strdup("no reason given");
  /* Where there is no leader, or where it went while it answered, another attempt may find one. */
  gboolean later = code == DEADLINE_EXCEEDED || code == UNAVAILABLE || (code == 0 && status >= 500);
  doppel_error_set(error, later ? DOPPEL_ERROR_GONE : DOPPEL_ERROR_FAILED, "etcd at %s refuses (%ld): %s",
                   url, status, shown);
  return later ? UNKNOWN : REFUSED;
}

static Attempt
attempt(EtcdClient *client, const char *url, const char *request, gsize length, int timeout_ms, GString *body,
        GError **error)
{
  CURL *curl = client->curl;
  g_string_truncate(body, 0);
  curl_easy_setopt(curl, CURLOPT_URL, url);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
  CURLcode result = curl_easy_perform(curl);
  if (result == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    return judge(body, status, url, error);
  }
  doppel_error_set(error, DOPPEL_ERROR_GONE, "etcd at %s does not answer: %s", url,
                   curl_easy_strerror(result));
  return UNKNOWN;
}

/* Until an endpoint answers, or refuses what all would refuse. */
static Attempt
insist(EtcdClient *client, const char *request, gsize length, GString *body, GError **error)
{
  gint64 deadline = clock_now_ns() + (gint64)client->total_ms * 1000000;
  g_autoptr(GError) last = NULL;
  for (guint tried = 1;; tried++) {
    g_clear_error(&last);
    int left = clock_left_ms(deadline);
    const char *url = client->urls->pdata[client->next];
    Attempt result =
        attempt(client, url, request, length, CLAMP(client->attempt_ms, 1, MAX(left, 1)), body, &last);
    if (result == ANSWERED)
      return result;
    if (result == REFUSED || clock_left_ms(deadline) == 0) {
      /* What is refused now may have happened at an attempt before. */
      if (tried > 1)
        last->code = DOPPEL_ERROR_GONE;
      g_propagate_error(error, g_steal_pointer(&last));
      return result;
    }
    client->next = (client->next + 1) % client->urls->len;
    if (tried % client->urls->len == 0)
      g_usleep(PAUSE_US);
  }
}

EtcdAnswer *
etcd_client_run(EtcdClient *client, const EtcdTxn *txn, GError **error)
{
  g_assert(!txn->writes || txn->compares->len > 0);
  guint count = txn->operations->len;
  g_assert(count <= (txn->writes ? ETCD_WRITES_MAX : ETCD_OPERATIONS_MAX));
  g_autoptr(GString) request = g_string_new("{\"compare\":[");
  g_string_append_len(request, txn->compares->str, txn->compares->len);
  g_string_append(request, "],\"success\":[");
  append_operations(txn, request);

  g_autoptr(GString) body = g_string_new(NULL);
  Attempt result = insist(client, request->str, request->len, body, error);
  if (result != ANSWERED)
    return NULL;
  gboolean nested = count > ETCD_OPERATIONS_MAX;
  guint results = nested ? (count + NESTED - 1) / NESTED : count;
  EtcdAnswer *answer = etcd_answer_parse(body->str, body->len, results, error);
  if (answer && nested)
    g_ptr_array_set_size(answer->results, 0);
  return answer;
}
