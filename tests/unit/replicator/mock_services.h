/* NetworkManager and UPower as far as their properties go, on a bus of the test's own. They say whatever the
 * test wants, of any type, or nothing at all. */
#pragma once

#include <gio/gio.h>

/* Whether there can be a bus at all; where not, all tests are reported as skipped. */
gboolean mock_bus_available(void);

typedef struct MockService MockService;

/* A service without its name yet. `address` is the bus's. */
MockService *mock_service_new(const char *address, const char *name);
void mock_service_free(MockService *service); /* it vanishes */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MockService, mock_service_free)

/* What GetAll of the interface at path answers from now on, in the text format of GVariant: a dictionary
 * {'Metered': <uint32 1>}, or anything else. Emits no signal. */
void mock_service_set(MockService *service, const char *path, const char *interface, const char *answer);

/* Tells that properties of the interface have changed. */
void mock_service_signal(MockService *service, const char *path, const char *interface);

/* Takes the name, or gives it up. */
void mock_service_own(MockService *service);
void mock_service_disown(MockService *service);

/* From now on questions are taken, and never answered. */
void mock_service_silence(MockService *service, gboolean silent);

/* How many questions were asked in all. */
guint mock_service_asked(const MockService *service);
