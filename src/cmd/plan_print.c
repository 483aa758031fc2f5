/* What doppel plan prints. */
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "cmd/plan.h"
#include "cmd/table.h"
#include "mirror/symbols_demangle.h"

char *
plan_cmd_name(const char *name, const ProfileObject *object, guint64 offset)
{
  g_autofree char *file = g_path_get_basename(object->path);
  g_autofree char *bare = name ? symbols_demangle_bare(name) : NULL;
  if (!name)
    return g_strdup_printf("%s+0x%" G_GINT64_MODIFIER "x", file, offset);
  return g_strdup_printf("%s (%s)", bare ? bare : name, file);
}

char *
plan_cmd_number(double number, int decimals)
{
  char format[8], text[G_ASCII_DTOSTR_BUF_SIZE];
  g_snprintf(format, sizeof format, "%%.%df", decimals);
  return g_strdup(g_ascii_formatd(text, sizeof text, format, number));
}

char *
plan_cmd_seconds(double seconds)
{
  static const struct {
    double least, unit;
    const char *name;
  } units[] = {{1, 1, "s"}, {1e-3, 1e-3, "ms"}, {0, 1e-6, "us"}};
  guint i = 0;
  while (seconds < units[i].least)
    i++;
  double number = seconds / units[i].unit;
  g_autofree char *text = plan_cmd_number(number, number < 10 ? 2 : number < 100 ? 1 : 0);
  return g_strdup_printf("%s %s", text, units[i].name);
}

/* ---- for people ---- */

#define BYTES_MOST 1e18

static char *
size_words(double bytes)
{
  return g_format_size((guint64)MIN(bytes, BYTES_MOST));
}

static const TableColumn link_columns[] = {
    {"LINK", NULL},
    {"ALONE", NULL, TABLE_NUMBER},
    {"PLANNED", NULL, TABLE_NUMBER},
    {"ALONE J", NULL, TABLE_NUMBER},
    {"PLANNED J", NULL, TABLE_NUMBER},
    {"SENT", NULL, TABLE_NUMBER},
    {"RECEIVED", NULL, TABLE_NUMBER},
    {"OFF-LOADED", NULL},
};

static guint
count_chosen(const Plan *plan)
{
  guint count = 0;
  for (guint i = 0; i < plan->functions->len; i++)
    count += ((const PlanFunction *)plan->functions->pdata[i])->share.chosen;
  return count;
}

static void
add_link(Table *table, const Plan *plan)
{
  guint chosen = count_chosen(plan);
  const PlanCost *alone = &plan->alone, *planned = &plan->planned;
  g_autofree char *alone_s = plan->possible ? plan_cmd_seconds(alone->cost.seconds) : g_strdup("impossible");
  g_autofree char *alone_j = plan->possible ? plan_cmd_number(alone->joules, 3) : NULL;
  g_autofree char *planned_s = plan_cmd_seconds(planned->cost.seconds);
  g_autofree char *planned_j = plan_cmd_number(planned->joules, 3);
  g_autofree char *up = size_words(planned->cost.up);
  g_autofree char *down = size_words(planned->cost.down);
  g_autofree char *what = chosen == 0 ? g_strdup("nothing")
                                      : g_strdup_printf("%u function%s%s", chosen, chosen == 1 ? "" : "s",
                                                        plan->proven ? "" : " (there may be better ones)");
  table_add(table, (const char *const[]){plan->condition, alone_s, planned_s, alone_j, planned_j,
                                         chosen ? up : "-", chosen ? down : "-", what});
}

static const TableColumn function_columns[] = {
    {"LINK", NULL},
    {"FUNCTION", NULL},
    {"BLOCKS", NULL, TABLE_NUMBER},
    {"A CALL HERE", NULL, TABLE_NUMBER},
    {"A BLOCK", NULL, TABLE_NUMBER},
    {"FIRST, MORE", NULL, TABLE_NUMBER},
    {"SENT", NULL, TABLE_NUMBER},
    {"RECEIVED", NULL, TABLE_NUMBER},
    {"BYTES ARE", NULL},
};

static void
add_function(Table *table, const Plan *plan, const PlanFunction *function)
{
  const PlanShare *share = &function->share;
  g_autofree char *name = plan_cmd_name(function->name, function->object, function->offset);
  g_autofree char *blocks = plan_cmd_number(share->blocks, share->blocks < 10 ? 1 : 0);
  g_autofree char *local = plan_cmd_seconds(share->local.cost.seconds);
  g_autofree char *block = plan_cmd_seconds(share->block.cost.seconds);
  g_autofree char *first =
      share->first.cost.seconds > 0 ? plan_cmd_seconds(share->first.cost.seconds) : g_strdup("-");
  g_autofree char *up = size_words(share->block.cost.up);
  g_autofree char *down = size_words(share->block.cost.down);
  table_add(table, (const char *const[]){plan->condition, name, blocks, local, block, first, up, down,
                                         share->observed ? "observed" : "assumed"});
}

static void
print_functions(const PlanShown *shown)
{
  g_autoptr(Table) table = table_new(function_columns, G_N_ELEMENTS(function_columns));
  for (guint i = 0; i < shown->plans->len; i++) {
    const Plan *plan = shown->plans->pdata[i];
    for (guint j = 0; j < plan->functions->len; j++)
      if (((const PlanFunction *)plan->functions->pdata[j])->share.chosen)
        add_function(table, plan, plan->functions->pdata[j]);
  }
  if (table_rows(table) == 0)
    return;
  puts("");
  table_print(table, FALSE, stdout);
}

static void
print_speed(const char *place, const PlanSpeed *speed)
{
  g_autofree char *ns = plan_cmd_number(speed->ns, 3);
  printf("%s %s ns an instruction (%s)", place, ns, plan_speed_words(speed->source));
}

void
plan_cmd_text(const PlanShown *shown)
{
  const Plan *first = shown->plans->pdata[0];
  g_autoptr(Table) table = table_new(link_columns, G_N_ELEMENTS(link_columns));
  printf("%s, by %u profiled run%s, for %s.\n", shown->program, first->runs, first->runs == 1 ? "" : "s",
         policy_objective_word(first->objective));
  print_speed("Device:", &first->speeds.device);
  g_autofree char *clone = g_strdup_printf("; clone %s:", shown->clone);
  print_speed(clone, &first->speeds.clone);
  printf(".\nEnergy is estimated by the model %s.\n\n", first->model);
  plan_cmd_tree(shown);
  puts("");
  gboolean known = TRUE;
  for (guint i = 0; i < shown->plans->len; i++) {
    add_link(table, shown->plans->pdata[i]);
    known = known && ((const Plan *)shown->plans->pdata[i])->energy_known;
  }
  table_print(table, FALSE, stdout);
  print_functions(shown);
  if (!known)
    puts(
        "\nThe power model knows nothing of one of these radios, or of what the device takes while it waits: "
        "that is not in J.");
  if (first->speeds.clone.source == PLAN_SPEED_UNKNOWN)
    puts("\nHow fast the clone is was not measured: it is taken to be as fast as the device. \"doppel plan "
         "--speed N\" says that\nit is N times as fast.");
}

/* ---- JSON ---- */

/* Such as there is: what is infinite is null. */
static void
append_number(GString *json, const char *key, double number)
{
  char text[G_ASCII_DTOSTR_BUF_SIZE];
  g_string_append_printf(json, "\"%s\":%s", key,
                         isfinite(number) ? g_ascii_formatd(text, sizeof text, "%.9g", number) : "null");
}

static void
append_text(GString *json, const char *key, const char *text)
{
  g_string_append_printf(json, "\"%s\":", key);
  if (text)
    json_append_string(json, text);
  else
    g_string_append(json, "null");
}

static void
append_flag(GString *json, const char *key, gboolean flag)
{
  g_string_append_printf(json, "\"%s\":%s", key, flag ? "true" : "false");
}

static void
append_cost(GString *json, const char *key, const PlanCost *cost)
{
  const struct {
    const char *key;
    double number;
  } numbers[] = {{"seconds", cost->cost.seconds}, {"processor_s", cost->cost.processor_s},
                 {"clone_s", cost->cost.clone_s}, {"up", cost->cost.up},
                 {"down", cost->cost.down},       {"round_trips", cost->cost.round_trips},
                 {"joules", cost->joules}};
  g_string_append_printf(json, "\"%s\":{", key);
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
    g_string_append(json, i ? "," : "");
    append_number(json, numbers[i].key, numbers[i].number);
  }
  g_string_append_c(json, '}');
}

static void
append_function(GString *json, const PlanFunction *function)
{
  const PlanShare *share = &function->share;
  g_autofree char *text = plan_function_text(function->object, function->offset);
  g_string_append_c(json, '{');
  append_text(json, "function", text);
  g_string_append_c(json, ',');
  append_text(json, "name", function->name);
  const struct {
    const char *key;
    gboolean flag;
  } flags[] = {{"chosen", share->chosen}, {"observed", share->observed}, {"no_local", share->no_local}};
  for (guint i = 0; i < G_N_ELEMENTS(flags); i++) {
    g_string_append_c(json, ',');
    append_flag(json, flags[i].key, flags[i].flag);
  }
  const struct {
    const char *key;
    double number;
  } numbers[] = {{"calls", share->calls}, {"executions", share->executions}, {"blocks", share->blocks}};
  for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
    g_string_append_c(json, ',');
    append_number(json, numbers[i].key, numbers[i].number);
  }
  const struct {
    const char *key;
    const PlanCost *cost;
  } costs[] = {{"local", &share->local}, {"block", &share->block}, {"first", &share->first}};
  for (guint i = 0; i < G_N_ELEMENTS(costs); i++) {
    g_string_append_c(json, ',');
    append_cost(json, costs[i].key, costs[i].cost);
  }
  g_string_append_c(json, '}');
}

static void
append_plan(GString *json, const Plan *plan)
{
  g_string_append_c(json, '{');
  append_text(json, "link", plan->condition);
  const struct {
    const char *key;
    gboolean flag;
  } flags[] = {
      {"possible_alone", plan->possible}, {"proven", plan->proven}, {"energy_known", plan->energy_known}};
  for (guint i = 0; i < G_N_ELEMENTS(flags); i++) {
    g_string_append_c(json, ',');
    append_flag(json, flags[i].key, flags[i].flag);
  }
  g_string_append_c(json, ',');
  append_number(json, "alone_value", plan->alone_value);
  g_string_append_c(json, ',');
  append_number(json, "planned_value", plan->planned_value);
  g_string_append_c(json, ',');
  append_cost(json, "alone", &plan->alone);
  g_string_append_c(json, ',');
  append_cost(json, "planned", &plan->planned);
  g_string_append(json, ",\"functions\":[");
  for (guint i = 0; i < plan->functions->len; i++) {
    g_string_append(json, i ? "," : "");
    append_function(json, plan->functions->pdata[i]);
  }
  g_string_append(json, "]}");
}

static void
append_speed(GString *json, const char *key, const PlanSpeed *speed)
{
  g_string_append_printf(json, ",\"%s\":{", key);
  append_number(json, "ns", speed->ns);
  g_string_append_c(json, ',');
  append_flag(json, "measured", speed->source != PLAN_SPEED_UNKNOWN);
  g_string_append_c(json, ',');
  append_text(json, "how", plan_speed_words(speed->source));
  g_string_append_c(json, '}');
}

void
plan_cmd_json(const PlanShown *shown)
{
  const Plan *first = shown->plans->pdata[0];
  g_autoptr(GString) json = g_string_new("{");
  append_text(json, "program", shown->program);
  g_string_append_printf(json, ",\"runs\":%u,", first->runs);
  append_text(json, "objective", policy_objective_word(first->objective));
  g_string_append_c(json, ',');
  append_text(json, "unit", policy_objective_unit(first->objective));
  g_string_append_c(json, ',');
  append_text(json, "clone", shown->clone);
  g_string_append_c(json, ',');
  append_text(json, "model", first->model);
  append_speed(json, "device_speed", &first->speeds.device);
  append_speed(json, "clone_speed", &first->speeds.clone);
  g_string_append(json, ",\"links\":[");
  for (guint i = 0; i < shown->plans->len; i++) {
    g_string_append(json, i ? "," : "");
    append_plan(json, shown->plans->pdata[i]);
  }
  g_string_append(json, "]}\n");
  fputs(json->str, stdout);
}
