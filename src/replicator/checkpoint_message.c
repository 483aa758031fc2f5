#include "replicator/checkpoint_message.h"

#include <string.h>

#include "base/error.h"
#include "replica/message.h"

enum { WORDS_MAX = 1 << 16, NAME_MAX_BYTES = 255, LINKS_MAX = 4096 };

void
checkpoint_message_free(CheckpointMessage *message)
{
  if (message)
    doppel__wire__checkpoint_message__free_unpacked(message, NULL);
}

void
checkpoint_chain_free(CheckpointChain *chain)
{
  if (chain)
    doppel__wire__checkpoint_chain__free_unpacked(chain, NULL);
}

/* ---- checks ---- */

static gboolean
is_text(const ProtobufCBinaryData *bytes)
{
  return !memchr(bytes->len ? bytes->data : (const guint8 *)"", 0, bytes->len);
}

static gboolean
are_texts(gsize count, const ProtobufCBinaryData *list)
{
  gboolean good = count <= WORDS_MAX;
  for (gsize i = 0; good && i < count; i++)
    good = is_text(&list[i]);
  return good;
}

static const char *
chain_fault(const CheckpointChain *chain)
{
  if (chain->n_link > LINKS_MAX || !are_texts(chain->n_argument, chain->argument) ||
      !is_text(&chain->directory) || strlen(chain->host) > NAME_MAX_BYTES ||
      strlen(chain->taken_device) > NAME_MAX_BYTES)
    return "a run that is none";
  for (gsize i = 0; i < chain->n_link; i++)
    if (!*chain->link[i]->name || strlen(chain->link[i]->name) > NAME_MAX_BYTES ||
        strchr(chain->link[i]->name, '/') || chain->link[i]->name[0] == '.' ||
        chain->link[i]->bytes > CHECKPOINT_BODY_MAX)
      return "a checkpoint that is none";
  return NULL;
}

static const char *
run_fault(const Doppel__Wire__CheckpointRun *run)
{
  if (run->run.len != CHECKPOINT_RUN || !run->n_argument || !are_texts(run->n_argument, run->argument) ||
      !is_text(&run->directory) || strlen(run->host) > NAME_MAX_BYTES)
    return "a run that is none";
  return NULL;
}

static const char *
files_fault(const Doppel__Wire__CheckpointFiles *files)
{
  const char *fault = files->n_file > CHECKPOINT_ASK_MAX ? "more files than are asked about at once" : NULL;
  for (gsize i = 0; !fault && i < files->n_file; i++)
    fault = checkpoint_file_fault(files->file[i]);
  return fault;
}

static const char *
bytes_fault(const Doppel__Wire__CheckpointBytes *bytes)
{
  return bytes->bytes.len > CHECKPOINT_BYTES_MAX || (!bytes->bytes.len && !bytes->last) ||
                 bytes->offset > CHECKPOINT_BODY_MAX
             ? "a piece that is none"
             : NULL;
}

static const char *
which_fault(const Doppel__Wire__CheckpointWhich *which)
{
  return (which->run.len && which->run.len != CHECKPOINT_RUN) || strlen(which->device) > NAME_MAX_BYTES
             ? "a run that is none"
             : NULL;
}

static const char *
lacks_fault(const Doppel__Wire__CheckpointLacks *lacks)
{
  for (gsize i = 0; i < lacks->n_index; i++)
    if (lacks->index[i] >= CHECKPOINT_ASK_MAX || (i > 0 && lacks->index[i] <= lacks->index[i - 1]))
      return "files that were not asked about";
  return NULL;
}

static const char *
summary_fault(const Doppel__Wire__CheckpointSummary *summary)
{
  if (summary->run.len != CHECKPOINT_RUN || !summary->chain)
    return "a run that is none";
  return chain_fault(summary->chain);
}

static const char *
message_fault(const CheckpointMessage *message)
{
  switch (message->kind_case) {
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_RUN:
    return run_fault(message->run);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_FILES:
    return files_fault(message->files);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_BYTES:
    return bytes_fault(message->bytes);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_PIECE:
    return bytes_fault(message->piece);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_REMOVE:
    return which_fault(message->remove);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_RESUME:
    return which_fault(message->resume);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_TAKE:
    return which_fault(message->take);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_CONTENT:
    return message->content->file ? checkpoint_file_fault(message->content->file) : "no file";
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_LACKS:
    return lacks_fault(message->lacks);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND_SUMMARY:
    return summary_fault(message->summary);
  case DOPPEL__WIRE__CHECKPOINT_MESSAGE__KIND__NOT_SET:
    return "of an unknown kind";
  default:
    return NULL;
  }
}

static gpointer
refuse(const char *fault, GError **error)
{
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a message about checkpoints makes no sense: %s", fault);
  return NULL;
}

CheckpointMessage *
checkpoint_message_unpack(const guint8 *data, gsize length, GError **error)
{
  g_autoptr(CheckpointMessage) message =
      length <= CHECKPOINT_MESSAGE_MAX ? doppel__wire__checkpoint_message__unpack(NULL, length, data) : NULL;
  const char *fault = message ? message_fault(message) : "not a message";
  return fault ? refuse(fault, error) : g_steal_pointer(&message);
}

CheckpointChain *
checkpoint_chain_unpack(const guint8 *data, gsize length, GError **error)
{
  g_autoptr(CheckpointChain) chain = doppel__wire__checkpoint_chain__unpack(NULL, length, data);
  const char *fault = chain ? chain_fault(chain) : "not a run";
  return fault ? refuse(fault, error) : g_steal_pointer(&chain);
}

GBytes *
checkpoint_message_pack(const CheckpointMessage *message)
{
  return replica_message_pack(&message->base);
}

/* ---- over a link ---- */

gboolean
checkpoint_message_send(Link *link, const CheckpointMessage *message, GError **error)
{
  g_autoptr(GBytes) packed = checkpoint_message_pack(message);
  gsize length;
  const void *data = g_bytes_get_data(packed, &length);
  if (length > CHECKPOINT_MESSAGE_MAX)
    return doppel_error_set(error, DOPPEL_ERROR_USAGE,
                            "the program's arguments, or its files' names, are too long for a checkpoint");
  return link_send(link, CHECKPOINT_CHANNEL, &(struct iovec){(void *)data, length}, 1, error);
}

/* NULL: there is none. */
static CheckpointMessage *
from_link(const LinkMessage *raw, GError **error)
{
  if (!raw || raw->channel == CHECKPOINT_CHANNEL)
    return raw ? checkpoint_message_unpack(raw->data, raw->length, error) : NULL;
  return refuse("on the channel of others", error);
}

CheckpointMessage *
checkpoint_message_take(Link *link, GError **error)
{
  g_autoptr(LinkMessage) raw = link_take(link);
  return from_link(raw, error);
}

CheckpointMessage *
checkpoint_message_wait(Link *link, int timeout_ms, GError **error)
{
  g_autoptr(LinkMessage) raw = link_await(link, timeout_ms, error);
  return from_link(raw, error);
}
