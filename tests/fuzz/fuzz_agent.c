/* A message to or from an agent: what is believed has the properties that whoever reads it relies on. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent_message.h"
#include "replica/generation.h"
#include "replica/path.h"
#include "replicator/sync.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
demand(gboolean holds)
{
  if (!holds)
    abort();
}

static void
check_paths(const ProtobufCBinaryData *paths, gsize count)
{
  for (gsize i = 0; i < count; i++) {
    g_autofree char *path = agent_message_path(&paths[i]);
    demand(path && strlen(path) == paths[i].len);
    demand(!*path || replica_path_valid_within(path, strlen(path), GENERATION_PATH_MAX));
  }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  gsize length;
  if (size >= AGENT_LENGTH && agent_message_length(data, &length, NULL))
    demand(length <= AGENT_MESSAGE_MAX);
  g_autoptr(AgentMessage) message = agent_message_unpack(data, size, NULL);
  if (!message)
    return 0;
  switch (message->kind_case) {
  case DOPPEL__AGENT__MESSAGE__KIND_SCOPE:
    check_paths(message->scope->directory, message->scope->n_directory);
    demand(message->scope->watch.len == 0 || message->scope->watch.len == REPLICATOR_WATCH);
    demand(message->scope->compression <= 19);
    break;
  case DOPPEL__AGENT__MESSAGE__KIND_DONE:
    check_paths(message->done->later, message->done->n_later);
    break;
  case DOPPEL__AGENT__MESSAGE__KIND_TAKE:
    demand(message->take->root.len > 0 && message->take->root.data[0] == '/');
    demand(g_utf8_validate(message->take->clone, -1, NULL));
    break;
  case DOPPEL__AGENT__MESSAGE__KIND_PROGRESS:
    demand(message->progress->phase <= REPLICATOR_COMPLETING);
    break;
  default:
    demand(message->kind_case != DOPPEL__AGENT__MESSAGE__KIND__NOT_SET);
  }
  return 0;
}
