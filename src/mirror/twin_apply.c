/* A process is made what a delta says. */
#include "base/error.h"
#include "mirror/twin_private.h"
#include "mirror/withhold.h"

/* ---- threads ---- */

static gboolean
threads_present(MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    if (section->kind != MIRROR_SECTION_REGISTERS || !section->bytes ||
        mirror_thread_find_own(twin->process, section->id))
      continue;
    if (twin->primary)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "a thread %u that was never reserved",
                              section->id);
    if (twin->next_thread && !twin->next_thread(section->id, twin->next_user, error))
      return FALSE;
    MirrorThread *made = mirror_thread_create(twin->process, error);
    if (!made)
      return FALSE;
    if (made->own_tid != (pid_t)section->id)
      return doppel_error_set(error, DOPPEL_ERROR_MISMATCH,
                              "a thread of the mirror got the id %d instead of %u", made->own_tid,
                              section->id);
  }
  return TRUE;
}

static gboolean
apply_threads(MirrorTwin *twin, const MirrorDelta *delta, GError **error)
{
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    if (section->kind < MIRROR_SECTION_REGISTERS)
      continue;
    MirrorThread *thread = mirror_thread_find_own(twin->process, section->id);
    if (!section->bytes) {
      if (section->kind == MIRROR_SECTION_REGISTERS && thread && !mirror_thread_end(thread, error))
        return FALSE;
      continue;
    }
    if (!thread)
      return doppel_error_set(error, DOPPEL_ERROR_HOSTILE, "state of a thread %u that does not exist",
                              section->id);
    gboolean done =
        section->kind == MIRROR_SECTION_EXTENDED ? mirror_state_apply_extended(thread, section->bytes, error)
        : section->kind == MIRROR_SECTION_THREAD ? mirror_state_apply_thread(thread, section->bytes, error)
                                                 : TRUE;
    if (!done)
      return FALSE;
  }
  /* Last, since every injection puts back what was there before it. */
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    MirrorThread *thread = mirror_thread_find_own(twin->process, section->id);
    if (section->kind == MIRROR_SECTION_REGISTERS && section->bytes && thread &&
        !mirror_state_apply_registers(thread, section->bytes, error))
      return FALSE;
  }
  return TRUE;
}

/* ---- all of it ---- */

typedef struct {
  MirrorLayout *layout; /* NULL: as it is */
  MirrorFiles *files;   /* NULL: as they are */
  GArray *steps;
} Plan;

static void
plan_clear(Plan *plan)
{
  mirror_layout_free(plan->layout);
  g_clear_pointer(&plan->files, g_ptr_array_unref);
  g_clear_pointer(&plan->steps, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Plan, plan_clear)

static gboolean
sections_sane(const MirrorDelta *delta, GError **error)
{
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    if (section->bytes && !mirror_state_check(section->kind, section->bytes, error))
      return FALSE;
  }
  return TRUE;
}

/* Descriptors that the block made on the primary and closed again in the mirror are no difference between the
 * lists of before and after it, and are there still. */
static GBytes *
files_wanted(const MirrorTwin *twin, const MirrorDelta *delta)
{
  const MirrorSection *section = mirror_delta_section(delta, MIRROR_SECTION_FILES, 0);
  if (section)
    return section->bytes;
  return twin->strays && twin->agreed ? mirror_state_get(twin->agreed, MIRROR_SECTION_FILES, 0) : NULL;
}

static gboolean
make_plan(MirrorTwin *twin, const MirrorDelta *delta, Plan *plan, GError **error)
{
  const MirrorSection *layout = mirror_delta_section(delta, MIRROR_SECTION_LAYOUT, 0);
  GBytes *files = files_wanted(twin, delta);
  gsize length;
  const guint8 *bytes;
  if (!twin_runs_sane(twin, delta, error) || !sections_sane(delta, error))
    return FALSE;
  if (files) {
    bytes = g_bytes_get_data(files, &length);
    if (!(plan->files = mirror_files_unpack(bytes, length, error)))
      return FALSE;
  }
  if (!layout || !layout->bytes)
    return TRUE;
  bytes = g_bytes_get_data(layout->bytes, &length);
  if (!(plan->layout = mirror_layout_unpack(bytes, length, error)))
    return FALSE;
  return TRUE;
}

static gboolean
apply_sections(MirrorTwin *twin, const MirrorDelta *delta, const Plan *plan, GError **error)
{
  const MirrorSection *signals = mirror_delta_section(delta, MIRROR_SECTION_SIGNALS, 0);
  if (plan->files && !(twin->primary ? mirror_files_apply_primary(twin->process, plan->files, error)
                                     : mirror_files_apply_mirror(twin->process, plan->files, error)))
    return FALSE;
  const MirrorSection *limits = mirror_delta_section(delta, MIRROR_SECTION_LIMITS, 0);
  if (limits && limits->bytes && !twin->primary &&
      !mirror_state_apply_limits(twin->process, limits->bytes, error))
    return FALSE;
  GBytes *former = twin->agreed ? mirror_state_get(twin->agreed, MIRROR_SECTION_SIGNALS, 0) : NULL;
  if (signals && signals->bytes && !mirror_state_apply_signals(twin->process, former, signals->bytes, error))
    return FALSE;
  return apply_threads(twin, delta, error);
}

static void
agree(MirrorTwin *twin, const MirrorDelta *delta)
{
  if (!twin->agreed)
    twin->agreed = mirror_state_new();
  for (guint i = 0; i < delta->sections->len; i++) {
    const MirrorSection *section = delta->sections->pdata[i];
    mirror_state_set(twin->agreed, section->kind, section->id,
                     section->bytes ? g_bytes_ref(section->bytes) : NULL);
  }
}

gboolean
mirror_twin_apply(MirrorTwin *twin, const MirrorDelta *delta, gboolean *begun, GError **error)
{
  g_auto(Plan) plan = {0};
  MirrorProcess *process = twin->process;
  const MirrorSection *misc = mirror_delta_section(delta, MIRROR_SECTION_MISC, 0);
  gboolean former_unknown = !twin->agreed;
  *begun = FALSE;
  if (!make_plan(twin, delta, &plan, error))
    return FALSE;
  if (plan.layout || !twin->layout) {
    if (!mirror_layout_renew(twin->process, &twin->layout, error))
      return FALSE;
  }
  if (plan.layout) {
    g_autoptr(GArray) first = mirror_layout_steps(twin->layout, plan.layout);
    if (!twin_steps_sane(process, first, error))
      return FALSE;
  }
  if (!threads_present(twin, delta, error))
    return FALSE;
  if (misc && misc->bytes) {
    if (!mirror_state_apply_misc(process, misc->bytes, error) ||
        (plan.layout && !mirror_layout_renew(twin->process, &twin->layout, error)))
      return FALSE;
  }
  if (plan.layout) {
    plan.steps = mirror_layout_steps(twin->layout, plan.layout);
    if (twin->primary && !twin_make_new_first(twin, plan.steps, error))
      return FALSE;
  }
  *begun = TRUE;
  for (guint i = 0; plan.steps && i < plan.steps->len; i++)
    if (!twin_take_step(twin, plan.steps, i, error))
      return FALSE;
  if ((plan.layout && !mirror_layout_renew(process, &twin->layout, error)) ||
      !twin_write_runs(twin, delta, error) || !apply_sections(twin, delta, &plan, error))
    return FALSE;
  twin->strays = FALSE;
  agree(twin, delta);
  if (plan.layout)
    twin_forget_unmapped(twin);
  mirror_withheld_superseded(twin, delta);
  /* Pages that cannot come later come now, and are no change of the process's own. */
  if ((twin->pager && !mirror_pager_put_now(twin->pager, twin->layout, delta, error)) ||
      (twin->late && !mirror_late_put_now(twin->late, twin->layout, delta, error)))
    return FALSE;
  /* Both sides are equal now: what was written to make them so is no change. The process has stood still
   * since its last capture, which began tracking anew: where no mapping changed, the delta's own pages are
   * all that was written. */
  gboolean begun_anew = plan.layout || former_unknown
                            ? mirror_tracker_changed(twin->tracker, twin->layout, NULL, error)
                            : mirror_tracker_forget(twin->tracker, twin->layout, delta->runs, error);
  return begun_anew && (!twin->pager || mirror_pager_arm(twin->pager, twin->layout, delta, error)) &&
         (!twin->late || mirror_late_arm(twin->late, twin->layout, delta, error));
}
