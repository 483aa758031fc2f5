/* What etcd's gateway answers, and the keys and values that a directory finds there. */
#include <stdint.h>
#include <stdlib.h>

#include "c2c/directory_etcd_value.h"
#include "c2c/etcd_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is believed to be a user's value gives the same one when it is written again. */
static void
try_user(GBytes *value)
{
  IdentityPublic origin = {{1}};
  g_auto(EtcdUserValue) user = {0};
  if (!etcd_value_read_user(value, &origin, &user))
    return;
  Record record = {
      .origin = origin, .name = user.name, .bytes = user.row->record, .directory = user.row->home};
  for (guint i = 0; i < sizeof record.hash; i++)
    record.hash[i] = user.row->hash[i];
  DirectoryPut put = {.record = &record, .number = user.row->number, .update = user.row->update};
  g_autoptr(GBytes) again = etcd_value_user(&put);
  if (!g_bytes_equal(again, value))
    abort();
}

static void
try_value(GBytes *value)
{
  DirectoryState state;
  EtcdLogValue log;
  EtcdWriterValue writer;
  try_user(value);
  etcd_value_read_log(value, &log);
  etcd_value_read_writer(value, &writer);
  if (etcd_value_read_state(value, &state)) {
    g_autoptr(GBytes) again = etcd_value_state(&state);
    if (!g_bytes_equal(again, value))
      abort();
  }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  g_autoptr(GBytes) all = g_bytes_new(data, size);
  try_value(all);
  if (size == 0)
    return 0;
  guint operations = data[0] % 4;
  g_autoptr(EtcdAnswer) answer = etcd_answer_parse((const char *)data + 1, size - 1, operations, NULL);
  if (!answer)
    return 0;
  if (answer->results->len != (answer->succeeded ? operations : 0))
    abort();
  g_autoptr(GBytes) start = g_bytes_new("p/user/", 7);
  for (guint i = 0; i < answer->results->len; i++) {
    const EtcdResult *result = answer->results->pdata[i];
    for (guint j = 0; j < result->pairs->len; j++) {
      const EtcdPair *pair = result->pairs->pdata[j];
      IdentityPublic origin;
      etcd_key_origin(pair->key, start, &origin);
      try_value(pair->value);
    }
  }
  return 0;
}
