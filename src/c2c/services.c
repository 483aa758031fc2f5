#include "c2c/services.h"

#include <glib.h>

const Service services[] = {
    {"send", FALSE, send_run},
    {"inbox", TRUE, inbox_run},
    {"outbox", TRUE, outbox_run},
    {"shares", TRUE, shares_run},
    {"search", FALSE, search_run},
    {"search-all", TRUE, search_all_run},
    {"fetch", FALSE, fetch_run},
    {"run", FALSE, run_run},
    {"doc", TRUE, doc_run},
    {"doc-invite", FALSE, doc_run},
    {"doc-heads", FALSE, doc_run, "streams=2,time=60,memory=256M"},
    {NULL},
};

const ServiceTask services_tasks[] = {
    {"outbox", send_runner_run},
    {"indexer", share_indexer_run},
    {"docs", doc_task_run},
    {NULL},
};

const Service *
services_find(const char *name)
{
  for (const Service *service = services; service->name; service++)
    if (g_str_equal(service->name, name))
      return service;
  return NULL;
}
