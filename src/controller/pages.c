/* Pages of the sleeping primary that the clone asks for, and those that it is sent without asking. */
#include <string.h>

#include "base/error.h"
#include "controller/controller.h"
#include "controller/learned.h"
#include "mirror/elf_facts.h"
#include "mirror/withhold.h"

typedef struct {
  Controller *controller;
  guint64 id;
} Answer;

static gboolean
send_pages(Doppel__Engine__DeltaPiece *piece, void *user, GError **error)
{
  const Answer *answer = user;
  Doppel__Engine__Pages pages = DOPPEL__ENGINE__PAGES__INIT;
  pages.id = answer->id;
  pages.piece = piece;
  return ENGINE_SEND(answer->controller->link, PAGES, pages, &pages, error);
}

gboolean
pages_pull(Controller *controller, const Doppel__Engine__Pull *pull, GError **error)
{
  g_autoptr(GArray) wanted = mirror_ranges_new();
  g_autoptr(MirrorDelta) answer = mirror_delta_new();
  Answer to = {controller, pull->id};
  gint64 began = timeline_now(controller);
  if (!mirror_ranges_receive(wanted, pull->n_range, pull->range, error))
    return FALSE;
  for (guint i = 0; controller->forecast && i < wanted->len; i++)
    mirror_ranges_add(controller->lent, mirror_ranges_get(wanted, i)->start,
                      mirror_ranges_get(wanted, i)->end);
  if (!mirror_withheld_give(controller->twin, wanted, answer, error) ||
      !mirror_delta_send(answer, send_pages, &to, error))
    return FALSE;
  timeline_pull(controller, began, mirror_ranges_sum(wanted) / COPIES_PAGE, answer->data->len);
  return TRUE;
}

/* ---- what is sent without being asked for ---- */

/* The memory of what this function has touched, of this build of the program. */
static PageForecast *
load_forecast(Controller *controller, const Function *function)
{
  g_autoptr(ElfFacts) facts = elf_facts_read(controller->program, NULL);
  g_autofree char *own = identity_directory();
  g_autofree char *directory = g_build_filename(own, "forecasts", NULL);
  g_autofree char *key = g_strdup_printf("%s %s %s", controller->program,
                                         facts && facts->build_id ? facts->build_id : "", function->text);
  return page_forecast_load(directory, key);
}

/* What is sent on trial is put into place only when it is touched, which takes a moment each time, and tells
 * what was of use. A forecast that has proved itself is tried now and then. */
static gboolean
is_trial(const Controller *controller)
{
  enum { TRIALS = 4, EVERY = 8 };
  return controller->block <= TRIALS || controller->block % EVERY == 0;
}

static MirrorChoice
choose(guint64 address, void *user)
{
  Controller *controller = user;
  guint64 page = address / COPIES_PAGE;
  PageForecast *forecast = controller->forecast;
  gboolean wanted = forecast && page_forecast_wants(forecast, address);
  if (wanted && !is_trial(controller))
    return MIRROR_SEND;
  if (!wanted && !g_hash_table_contains(controller->pointed, &page))
    return MIRROR_KEEP;
  mirror_ranges_add(controller->lent, address, address + COPIES_PAGE);
  return MIRROR_LEND;
}

/* Before anything is known of what a function touches: what its registers point at. */
static void
note_pointed(Controller *controller)
{
  const ArchRegisters *registers = mirror_thread_registers(controller->block_thread, NULL);
  for (gsize i = 0; registers && i < registers->length / sizeof(guint64); i++) {
    guint64 page = registers->word[i] / COPIES_PAGE;
    g_hash_table_add(controller->pointed, g_memdup2(&page, sizeof page));
  }
}

void
pages_begin(Controller *controller, Function *function)
{
  guint32 without = controller->options->without;
  gboolean push = function && !(without & (RUN_WITHOUT_PUSH | RUN_WITHOUT_PULL));
  if (push && !function->forecast)
    function->forecast = load_forecast(controller, function);
  controller->forecast = push ? function->forecast : NULL;
  g_hash_table_remove_all(controller->pointed);
  g_array_set_size(controller->lent, 0);
  if (push && !page_forecast_count(function->forecast))
    note_pointed(controller);
  controller->twin->choose = without & RUN_WITHOUT_PULL ? NULL : choose;
  controller->twin->choose_user = controller;
}

gboolean
pages_end(Controller *controller, const Doppel__Engine__BlockEnd *end, GError **error)
{
  PageForecast *forecast = controller->forecast;
  g_autoptr(GArray) untouched = mirror_ranges_new();
  if (!mirror_ranges_receive(untouched, end->n_untouched, end->untouched, error))
    return FALSE;
  if (!forecast)
    return TRUE;
  for (guint i = 0; i < untouched->len; i++) {
    const MirrorRange *range = mirror_ranges_get(untouched, i);
    MirrorRange part;
    for (guint64 at = range->start; mirror_ranges_meet(controller->lent, at, range->end, &part);
         at = part.end)
      page_forecast_untouched(forecast, part.start, (part.end - part.start) / COPIES_PAGE);
    mirror_ranges_remove(controller->lent, range->start, range->end);
  }
  for (guint i = 0; i < controller->lent->len; i++) {
    const MirrorRange *range = mirror_ranges_get(controller->lent, i);
    page_forecast_touched(forecast, range->start, (range->end - range->start) / COPIES_PAGE);
  }
  page_forecast_block_end(forecast);
  return TRUE;
}

void
pages_cancel(Controller *controller)
{
  if (controller->forecast)
    page_forecast_block_cancel(controller->forecast);
  controller->forecast = NULL;
}

/* ---- what the clone keeps ---- */

void
pages_open(Controller *controller)
{
  g_autofree char *path = learned_pages_path(controller->options->clone);
  if (!(controller->options->without & RUN_WITHOUT_KNOWN))
    controller->twin->index = controller->index = page_index_load(path, PAGE_INDEX_KEYS);
  if (controller->index && controller->store_known)
    page_index_set_identity(controller->index, controller->store);
}

void
pages_hello(Controller *controller, const Doppel__Engine__Hello *hello)
{
  controller->store_known = hello->has_store && hello->store.len == sizeof controller->store;
  if (controller->store_known)
    memcpy(controller->store, hello->store.data, sizeof controller->store);
  if (controller->index && controller->store_known)
    page_index_set_identity(controller->index, controller->store);
}

/* What cannot be saved is learned again. */
void
pages_close(Controller *controller)
{
  g_autoptr(GError) error = NULL;
  if (controller->index && !page_index_save(controller->index, &error))
    explain(controller, "what the clone keeps is forgotten: %s", error->message);
  g_clear_pointer(&controller->index, page_index_free);
}

void
pages_save(Controller *controller, Function *function)
{
  g_autoptr(GError) error = NULL;
  if (function->forecast && !page_forecast_save(function->forecast, &error))
    explain(controller, "what %s touches is forgotten: %s", function->text, error->message);
}
