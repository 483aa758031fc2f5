#include "profile.h"

const Profile profiles[] = {
    {"lan", 200, 1000, 1000, 10, "a wired network"},
    {"wifi", 5000, 40, 40, 60, "a wireless network at home"},
    {"lte", 50000, 12, 6, 200, "a mobile network of the fourth generation"},
    {"3g", 120000, 2, 0.4, 600, "a mobile network of the third generation"},
    {"none", 0, 0, 0, 0, "as fast as this machine can (no shaping)"},
    {NULL},
};

const Profile *
profile_find(const char *name)
{
  for (const Profile *each = profiles; each->name; each++)
    if (g_str_equal(each->name, name))
      return each;
  return NULL;
}
