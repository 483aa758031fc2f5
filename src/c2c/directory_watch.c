#include "c2c/directory_watch.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define BACK_S        300    /* a lower number so much later is no matter of two threads or clocks */
#define TIMEOUTS_MAX  10     /* what all questions of one look may take: who drips is to hold no thread */
#define QUESTIONS_MAX 100000 /* to extend one head to another: a log of 400 million entries */

static gboolean
accuse(DirectoryCache *cache, const DirectoryHead *first, const DirectoryHead *second, const char *words,
       GError **error)
{
  g_autofree char *key = identity_public_to_text(&first->directory);
  g_warning("the directory %s contradicts itself: %s (heads %" G_GUINT64_FORMAT " and %" G_GUINT64_FORMAT ")",
            key, words, first->state.number, second->state.number);
  return directory_cache_add_evidence(cache, &first->directory, &first->proof, &second->proof, words, error);
}

gboolean
directory_watch_saw(DirectoryCache *cache, const DirectoryHead *head, GError **error)
{
  /* Of two first heads only one can be what later ones extend. */
  g_autoptr(GRecMutexLocker) locker = directory_cache_lock(cache);
  g_auto(DirectoryHead) other = {0};
  g_auto(DirectoryHead) anchor = {0};
  int found = directory_cache_other_head(cache, head, &other, error);
  if (found > 0)
    return accuse(cache, &other, head, "it has shown two lists of the same length", error);
  if (found < 0)
    return FALSE;
  found = directory_cache_anchor(cache, &head->directory, &anchor, error);
  if (found < 0)
    return FALSE;
  if (found > 0 && head->state.number < anchor.state.number && head->time > anchor.time + BACK_S &&
      !accuse(cache, &anchor, head, "its list has become shorter", error))
    return FALSE;
  return directory_cache_add_head(cache, head, found == 0, error);
}

/* The log after `state`, in hashes, until it has `number` entries. 1; 0 where the directory has no such
 * entries; -1 where it does not answer, or drips. */
static int
extend(DirectoryCall *call, DirectoryState *state, guint64 number, int timeout_ms, gint64 deadline,
       GError **error)
{
  for (guint i = 0; state->number < number && i < QUESTIONS_MAX; i++) {
    if (clock_now_ns() > deadline) {
      doppel_error_set(error, DOPPEL_ERROR_GONE,
                       "a directory takes too long to say what was added to its list");
      return -1;
    }
    g_autoptr(DirectoryQuestion) question = directory_question_new(DIRECTORY_WHAT(CHANGES));
    question->number = state->number;
    g_autoptr(DirectoryAnswer) answer = directory_call_ask(call, question, timeout_ms, NULL, error);
    if (!answer)
      return -1;
    if (answer->status != DIRECTORY_STATUS(OK) && answer->status != DIRECTORY_STATUS(UNKNOWN)) {
      directory_answer_refusal(answer, "that is watched", error);
      return -1;
    }
    if (answer->status != DIRECTORY_STATUS(OK) || answer->entries->len == 0)
      return 0;
    for (guint k = 0; k < answer->entries->len && state->number < number; k++) {
      const DirectoryLogEntry *entry = &g_array_index(answer->entries, DirectoryLogEntry, k);
      if (entry->number != state->number + 1)
        return 0;
      directory_chain_extend(state, entry->hash);
    }
  }
  return state->number == number;
}

static gboolean
judge(DirectoryCache *cache, DirectoryCall *call, const DirectoryHead *anchor, const DirectoryHead *head,
      int timeout_ms, gint64 deadline, GError **error)
{
  gboolean later = head->state.number >= anchor->state.number;
  const DirectoryHead *low = later ? anchor : head, *high = later ? head : anchor;
  DirectoryState state = low->state;
  int done = extend(call, &state, high->state.number, timeout_ms, deadline, error);
  if (done < 0)
    return FALSE;
  if (done > 0 && directory_state_equal(&state, &high->state))
    return directory_cache_link(cache, head, error);
  return directory_cache_drop_head(cache, head, error) &&
         accuse(cache, low, high,
                done > 0 ? "what it says that it added to the one list does not make the other"
                         : "it cannot say how it came from the one list to the other",
                error);
}

gboolean
directory_watch_ask(DirectoryCache *cache, DirectoryCall *call, const IdentityPublic *directory,
                    int timeout_ms, GError **error)
{
  gint64 deadline = clock_now_ns() + TIMEOUTS_MAX * timeout_ms * G_GINT64_CONSTANT(1000000);
  g_autoptr(GArray) heads = directory_cache_unlinked(cache, directory, error);
  for (guint i = 0; heads && i < heads->len; i++) {
    g_auto(DirectoryHead) anchor = {0};
    int found = directory_cache_anchor(cache, directory, &anchor, error);
    if (found <= 0)
      return found == 0;
    if (!judge(cache, call, &anchor, &g_array_index(heads, DirectoryHead, i), timeout_ms, deadline, error))
      return FALSE;
  }
  return heads != NULL;
}
