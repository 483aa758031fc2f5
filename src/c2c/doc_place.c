#include "c2c/doc_place.h"

#include "base/error.h"
#include "clonedoc/room/room_place.h"

#define LOOK_US 100000
#define LOOKS   80 /* longer than the documents' process takes to find out that its clone has a name */

char *
doc_place_folder(const ServicePlace *place)
{
  return g_build_filename(place->directory, "docs", NULL);
}

int
doc_place_connect(const ServicePlace *place, GError **error)
{
  g_autofree char *folder = doc_place_folder(place);
  for (guint i = 0; i < LOOKS; i++) {
    int fd = doc_room_connect(folder);
    if (fd >= 0)
      return fd;
    g_usleep(LOOK_US);
  }
  doppel_error_set(
      error, DOPPEL_ERROR_GONE,
      "the clone does not keep documents now: try again, and see whether it has a name (\"doppel name\")");
  return -1;
}
