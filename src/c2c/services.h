/* The services that come with a clone, and what runs beside them. */
#pragma once

#include "c2c/service.h"

/* For spawner_new(): the last one's name is NULL. */
extern const Service services[];

/* NULL: there is none of that name. */
const Service *services_find(const char *name);

/* What each of them runs. */
typedef int ServiceRun(int fd, const char *service, const ServicePeer *peer, const ServicePlace *place);
ServiceRun send_run;   /* send_inbox.c: a file for the inbox */
ServiceRun inbox_run;  /* send_inbox.c */
ServiceRun outbox_run; /* send_outbox.c */
ServiceRun shares_run;
ServiceRun search_run; /* search_service.c: what is shared here and has these words */
ServiceRun search_all_run;
ServiceRun fetch_run; /* fetch_service.c: a shared file */
ServiceRun run_run;   /* service_run.c: a friend's program */
ServiceRun doc_run;   /* doc_service.c: documents, for the owner's devices and for other members' clones */

/* The last one's name is NULL. */
extern const ServiceTask services_tasks[];

int send_runner_run(const ServicePlace *place);   /* delivers what is in the outbox */
int doc_task_run(const ServicePlace *place);      /* keeps documents (clonedoc/room) */
int share_indexer_run(const ServicePlace *place); /* keeps the index of what is shared as new as the clone */
