/* NetworkManager and UPower for whole programs: lines on standard input say what they are to say, "manager",
 * "upower" or "display" and the properties; each is answered by "ok". The argument is the bus's address. */
#include <stdio.h>
#include <string.h>

#include "mock_services.h"
#include "replicator/conditions_sources.h"

typedef struct {
  MockService *manager, *upower;
  GMainLoop *loop;
} Mock;

static gboolean
say(Mock *mock, const char *line)
{
  const struct {
    const char *word;
    MockService *service;
    const char *path, *interface;
  } objects[] = {
      {"manager ", mock->manager, NETWORK_MANAGER_PATH, NETWORK_MANAGER_INTERFACE},
      {"upower ", mock->upower, UPOWER_PATH, UPOWER_INTERFACE},
      {"display ", mock->upower, UPOWER_DISPLAY_PATH, UPOWER_DEVICE_INTERFACE},
  };
  for (guint i = 0; i < G_N_ELEMENTS(objects); i++)
    if (g_str_has_prefix(line, objects[i].word)) {
      mock_service_set(objects[i].service, objects[i].path, objects[i].interface,
                       line + strlen(objects[i].word));
      mock_service_signal(objects[i].service, objects[i].path, objects[i].interface);
      return TRUE;
    }
  return FALSE;
}

static gboolean
readable(GIOChannel *input, GIOCondition condition, gpointer data)
{
  Mock *mock = data;
  g_autofree char *line = NULL;
  if (g_io_channel_read_line(input, &line, NULL, NULL, NULL) != G_IO_STATUS_NORMAL) {
    g_main_loop_quit(mock->loop);
    return G_SOURCE_REMOVE;
  }
  puts(say(mock, g_strchomp(line)) ? "ok" : "what?");
  fflush(stdout);
  return G_SOURCE_CONTINUE;
}

int
main(int argc, char **argv)
{
  if (argc != 2)
    return 2;
  Mock mock = {.loop = g_main_loop_new(NULL, FALSE)};
  mock.manager = mock_service_new(argv[1], NETWORK_MANAGER_NAME);
  mock.upower = mock_service_new(argv[1], UPOWER_NAME);
  mock_service_own(mock.manager);
  mock_service_own(mock.upower);
  g_autoptr(GIOChannel) input = g_io_channel_unix_new(0);
  g_io_add_watch(input, G_IO_IN | G_IO_HUP, readable, &mock);
  g_main_loop_run(mock.loop);
  return 0;
}
