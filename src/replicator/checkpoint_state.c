/* The state in a checkpoint, checked: what comes from outside is what a process can be. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "replicator/checkpoint_body.h"
#include "replicator/job_message.h"

enum {
  PATH_BYTES_MAX = 4096,
  NUMBER_MAX = 1 << 20,
  WATCHES_MAX = 1 << 16,
  SIGNALS_MAX = 1 << 16,
  SECTIONS_MAX = 1 << 18,
  PIPE_MAX = 1 << 20,
};

void
checkpoint_state_free(CheckpointState *state)
{
  if (state)
    doppel__wire__checkpoint_state__free_unpacked(state, NULL);
}

static gboolean
is_path(const ProtobufCBinaryData *path)
{
  return path->len > 0 && path->len < PATH_BYTES_MAX && path->data[0] == '/' &&
         !memchr(path->data, 0, path->len);
}

const char *
checkpoint_file_fault(const CheckpointFile *file)
{
  if (!is_path(&file->path) || file->kind > DOPPEL__WIRE__CHECKPOINT_FILE__KIND__NAMELESS)
    return "a file that is none";
  if (file->size > G_MAXINT64 / 2 || file->mode > 07777 || file->uid == (guint32)-1 ||
      file->gid == (guint32)-1)
    return "facts of a file that none has";
  return NULL;
}

static gboolean
has_file(const CheckpointState *state, guint32 number)
{
  for (gsize i = 0; i < state->n_file; i++)
    if (state->file[i]->file == number)
      return TRUE;
  return FALSE;
}

/* A path of a device or a directory. */
static gboolean
descriptor_right(const CheckpointState *state, const CheckpointDescriptor *descriptor, gint32 last)
{
  if (descriptor->number <= last || descriptor->number >= NUMBER_MAX || descriptor->shares < -1 ||
      descriptor->shares >= descriptor->number || descriptor->offset > G_MAXINT64 ||
      descriptor->content.len > PIPE_MAX || descriptor->n_watch > WATCHES_MAX)
    return FALSE;
  switch (descriptor->kind) {
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__FILE:
    return has_file(state, descriptor->file);
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__DIRECTORY:
  case DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__DEVICE:
    return is_path(&descriptor->path);
  default:
    return descriptor->kind <= DOPPEL__WIRE__CHECKPOINT_DESCRIPTOR__KIND__ERRORS;
  }
}

/* In order, each number once, and what shares an open file does so with a number that is there. */
static gboolean
descriptors_right(const CheckpointState *state)
{
  gint32 last = -1;
  for (gsize i = 0; i < state->n_descriptor; i++) {
    const CheckpointDescriptor *descriptor = state->descriptor[i];
    if (!descriptor_right(state, descriptor, last))
      return FALSE;
    gboolean found = descriptor->shares < 0;
    for (gsize k = 0; !found && k < i; k++)
      found = state->descriptor[k]->number == descriptor->shares;
    if (!found)
      return FALSE;
    last = descriptor->number;
  }
  return TRUE;
}

static gboolean
files_right(const CheckpointState *state)
{
  g_autoptr(GHashTable) numbers = g_hash_table_new(NULL, NULL);
  if (state->n_file > CHECKPOINT_FILES_MAX)
    return FALSE;
  for (gsize i = 0; i < state->n_file; i++)
    if (checkpoint_file_fault(state->file[i]) ||
        !g_hash_table_add(numbers, GUINT_TO_POINTER(state->file[i]->file)))
      return FALSE;
  return TRUE;
}

static const char *
state_fault(const CheckpointState *state)
{
  if (!state->number || !state->request || state->pid <= 1 || state->pid > G_MAXINT32 ||
      strlen(state->architecture) > 64 || strlen(state->features) > 65536)
    return "a process that is none";
  if (!files_right(state) || state->n_descriptor > NUMBER_MAX || !descriptors_right(state))
    return "descriptors that no process has";
  if (state->n_signal > SIGNALS_MAX || state->n_section > SECTIONS_MAX || state->n_interval > 3)
    return "more than a process has";
  for (gsize i = 0; i < state->n_signal; i++)
    if (state->signal[i]->info.len != sizeof(siginfo_t) || state->signal[i]->thread < 0)
      return "a signal that is none";
  for (gsize i = 0; i < state->n_interval; i++)
    if (state->interval[i]->which > 2)
      return "a timer that is none";
  return NULL;
}

/* How it was started is checked as a job's request is. */
static gboolean
request_right(const JobRequest *request)
{
  gsize length = doppel__wire__job_request__get_packed_size(request);
  g_autofree guint8 *packed = g_malloc(MAX(length, 1));
  doppel__wire__job_request__pack(request, packed);
  g_autoptr(JobRequest) checked = job_request_unpack(packed, length, NULL);
  return checked != NULL;
}

CheckpointState *
checkpoint_state_unpack(const guint8 *data, gsize length, GError **error)
{
  g_autoptr(CheckpointState) state = doppel__wire__checkpoint_state__unpack(NULL, length, data);
  const char *fault = state ? state_fault(state) : "not one";
  if (!fault && !request_right(state->request))
    fault = "a program that is none";
  if (!fault)
    return g_steal_pointer(&state);
  doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a checkpoint makes no sense: %s", fault);
  return NULL;
}
