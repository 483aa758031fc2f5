/* Rows of plans. */
#include "plan/store_rows.h"

#include <math.h>

enum { FUNCTION_LIMIT = 1 << 16, PLAN_LIMIT = 64 };

/* ---- numbers ---- */

static const gsize cost_numbers[] = {
    G_STRUCT_OFFSET(PlanCost, cost.seconds),     G_STRUCT_OFFSET(PlanCost, cost.processor_s),
    G_STRUCT_OFFSET(PlanCost, cost.up),          G_STRUCT_OFFSET(PlanCost, cost.down),
    G_STRUCT_OFFSET(PlanCost, cost.round_trips), G_STRUCT_OFFSET(PlanCost, cost.clone_s),
    G_STRUCT_OFFSET(PlanCost, joules),
};

/* *good becomes FALSE where it is no number that a plan has. */
static double
read_real(sqlite3_stmt *row, int column, gboolean *good)
{
  double number = sqlite3_column_double(row, column);
  *good = *good && sqlite3_column_type(row, column) == SQLITE_FLOAT && isfinite(number) && number >= 0;
  return number;
}

static gboolean
read_flag(sqlite3_stmt *row, int column, gboolean *good)
{
  guint64 number = hint_number(row, column, good);
  *good = *good && number <= 1;
  return number == 1;
}

/* The costs of a plan: those of the plan itself have no function. */
static const struct {
  const char *word;
  gboolean of_function;
  gsize at;
} kinds[] = {
    {"alone", FALSE, G_STRUCT_OFFSET(Plan, alone)},
    {"planned", FALSE, G_STRUCT_OFFSET(Plan, planned)},
    {"local", TRUE, G_STRUCT_OFFSET(PlanFunction, share.local)},
    {"block", TRUE, G_STRUCT_OFFSET(PlanFunction, share.block)},
    {"first", TRUE, G_STRUCT_OFFSET(PlanFunction, share.first)},
};

/* ---- reading ---- */

static Plan *
read_plan(sqlite3_stmt *row, PolicyObjective objective)
{
  gboolean good = TRUE;
  const char *condition = hint_text(row, 1), *model = hint_text(row, 2);
  double device_ns = read_real(row, 3, &good), clone_ns = read_real(row, 5, &good);
  guint64 device_source = hint_number(row, 4, &good), clone_source = hint_number(row, 6, &good);
  guint64 runs = hint_number(row, 7, &good);
  if (!good || !condition || !model || MAX(device_source, clone_source) > PLAN_SPEED_GIVEN || runs > G_MAXINT)
    return NULL;
  g_autoptr(Plan) plan = g_new0(Plan, 1);
  plan->functions = g_ptr_array_new_with_free_func((GDestroyNotify)plan_function_free);
  plan->objective = objective;
  plan->condition = g_strdup(condition);
  plan->model = g_strdup(model);
  plan->speeds =
      (PlanSpeeds){{device_ns, (PlanSpeedSource)device_source}, {clone_ns, (PlanSpeedSource)clone_source}};
  plan->runs = (guint)runs;
  plan->energy_known = read_flag(row, 8, &good);
  plan->proven = read_flag(row, 9, &good);
  plan->possible = read_flag(row, 10, &good);
  plan->alone_value = read_real(row, 11, &good);
  plan->planned_value = read_real(row, 12, &good);
  if (!plan->possible)
    plan->alone_value = INFINITY;
  return good ? g_steal_pointer(&plan) : NULL;
}

static gboolean
read_function(Plan *plan, const ProfileGraph *files, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  guint64 object = hint_number(row, 0, &good);
  if (!good || object >= files->objects->len || plan->functions->len >= FUNCTION_LIMIT)
    return FALSE;
  PlanFunction *function = g_new0(PlanFunction, 1);
  g_ptr_array_add(plan->functions, function);
  function->object = profile_object_copy(files->objects->pdata[object]);
  function->offset = (guint64)sqlite3_column_int64(row, 1);
  function->name = g_strdup(hint_text(row, 2));
  function->share.chosen = read_flag(row, 3, &good);
  function->share.observed = read_flag(row, 4, &good);
  function->share.no_local = read_flag(row, 5, &good);
  function->share.calls = read_real(row, 6, &good);
  function->share.executions = read_real(row, 7, &good);
  function->share.blocks = read_real(row, 8, &good);
  return good;
}

static gboolean
read_cost(Plan *plan, sqlite3_stmt *row)
{
  gboolean good = TRUE;
  guint64 function = hint_number(row, 0, &good);
  const char *word = hint_text(row, 1);
  for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
    if (g_strcmp0(word, kinds[i].word) != 0)
      continue;
    if (!good || (kinds[i].of_function && function >= plan->functions->len))
      return FALSE;
    gpointer of = kinds[i].of_function ? plan->functions->pdata[function] : plan;
    PlanCost *cost = G_STRUCT_MEMBER_P(of, kinds[i].at);
    for (guint j = 0; j < G_N_ELEMENTS(cost_numbers); j++)
      G_STRUCT_MEMBER(double, cost, cost_numbers[j]) = read_real(row, 2 + (int)j, &good);
    return good;
  }
  return FALSE;
}

/* What belongs to a plan. FALSE with an error, or without one where it makes no sense. */
static gboolean
read_parts(sqlite3 *db, gint64 id, Plan *plan, const ProfileGraph *files, GError **error)
{
  int step = -1;
  g_autoptr(DatabaseStatement) function =
      database_prepare(db, error,
                       "SELECT object, offset, name, chosen, observed, no_local, calls, executions, blocks"
                       " FROM function WHERE plan = ? ORDER BY number",
                       "i", id);
  while (function && (step = database_step(function, error)) > 0)
    if (!read_function(plan, files, function))
      return FALSE;
  if (step < 0)
    return FALSE;
  step = -1;
  g_autoptr(DatabaseStatement) cost = database_prepare(
      db, error,
      "SELECT function, kind, seconds, processor_s, up, down, round_trips, clone_s, joules FROM cost"
      " WHERE plan = ?",
      "i", id);
  while (cost && (step = database_step(cost, error)) > 0)
    if (!read_cost(plan, cost))
      return FALSE;
  return step == 0;
}

GPtrArray *
plan_rows_read(sqlite3 *db, gint64 program, PolicyObjective objective, const ProfileGraph *files,
               GError **error)
{
  g_autoptr(GPtrArray) plans = g_ptr_array_new_with_free_func((GDestroyNotify)plan_free);
  g_autoptr(DatabaseStatement) row = database_prepare(
      db, error,
      "SELECT id, condition, model, device_ns, device_source, clone_ns, clone_source, runs, energy_known,"
      " proven, possible, alone_value, planned_value FROM plan WHERE program = ? AND objective = ?"
      " ORDER BY number",
      "it", program, policy_objective_word(objective));
  int step = -1;
  while (row && (step = database_step(row, error)) > 0) {
    Plan *plan = plans->len < PLAN_LIMIT ? read_plan(row, objective) : NULL;
    if (!plan)
      return NULL;
    g_ptr_array_add(plans, plan);
    if (!read_parts(db, sqlite3_column_int64(row, 0), plan, files, error))
      return NULL;
  }
  return step == 0 ? g_steal_pointer(&plans) : NULL;
}

/* ---- writing ---- */

static gboolean
write_costs(sqlite3 *db, gint64 id, guint number, gpointer of, gboolean of_function, GError **error)
{
  g_autoptr(DatabaseStatement) row =
      database_prepare(db, error, "INSERT INTO cost VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "");
  for (guint i = 0; row && i < G_N_ELEMENTS(kinds); i++) {
    if (kinds[i].of_function != of_function)
      continue;
    PlanCost *cost = G_STRUCT_MEMBER_P(of, kinds[i].at);
    sqlite3_reset(row);
    sqlite3_bind_int64(row, 1, id);
    sqlite3_bind_int64(row, 2, number);
    sqlite3_bind_text(row, 3, kinds[i].word, -1, SQLITE_STATIC);
    for (guint j = 0; j < G_N_ELEMENTS(cost_numbers); j++)
      sqlite3_bind_double(row, 4 + (int)j, G_STRUCT_MEMBER(double, cost, cost_numbers[j]));
    if (database_step(row, error) < 0)
      return FALSE;
  }
  return row != NULL;
}

static gboolean
write_function(sqlite3 *db, gint64 id, guint number, PlanFunction *function, const ProfileGraph *files,
               GError **error)
{
  gint64 object = GPOINTER_TO_UINT(g_hash_table_lookup(files->by_path, function->object->path));
  const PlanShare *share = &function->share;
  g_autoptr(DatabaseStatement) row =
      database_prepare(db, error, "INSERT INTO function VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", "iiiitiii",
                       id, (gint64)number, object, (gint64)function->offset, function->name,
                       (gint64)share->chosen, (gint64)share->observed, (gint64)share->no_local);
  if (!row)
    return FALSE;
  sqlite3_bind_double(row, 9, share->calls);
  sqlite3_bind_double(row, 10, share->executions);
  sqlite3_bind_double(row, 11, share->blocks);
  return database_step(row, error) >= 0 && write_costs(db, id, number, function, TRUE, error);
}

gboolean
plan_row_write(sqlite3 *db, gint64 program, guint number, const Plan *plan, const ProfileGraph *files,
               GError **error)
{
  g_autoptr(DatabaseStatement) row = database_prepare(
      db, error,
      "INSERT INTO plan(program, objective, number, condition, model, device_source, clone_source, runs,"
      " energy_known, proven, possible, device_ns, clone_ns, alone_value, planned_value)"
      " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      "itittiiiiii", program, policy_objective_word(plan->objective), (gint64)number, plan->condition,
      plan->model, (gint64)plan->speeds.device.source, (gint64)plan->speeds.clone.source, (gint64)plan->runs,
      (gint64)plan->energy_known, (gint64)plan->proven, (gint64)plan->possible);
  if (!row)
    return FALSE;
  sqlite3_bind_double(row, 12, plan->speeds.device.ns);
  sqlite3_bind_double(row, 13, plan->speeds.clone.ns);
  sqlite3_bind_double(row, 14, plan->possible ? plan->alone_value : 0);
  sqlite3_bind_double(row, 15, plan->planned_value);
  if (database_step(row, error) < 0)
    return FALSE;
  gint64 id = sqlite3_last_insert_rowid(db);
  if (!write_costs(db, id, 0, (gpointer)plan, FALSE, error))
    return FALSE;
  for (guint i = 0; i < plan->functions->len; i++)
    if (!write_function(db, id, i, plan->functions->pdata[i], files, error))
      return FALSE;
  return TRUE;
}
