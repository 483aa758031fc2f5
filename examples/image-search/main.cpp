/* image-search PATH...: finds faces in pictures. README.md is its manual. */
#include <getopt.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <opencv2/core/utility.hpp>
#include <opencv2/imgcodecs.hpp>

#include "finder.h"

namespace fs = std::filesystem;

namespace
{

const char *const usage =
    "Usage: image-search [OPTION...] PATH...\n"
    "Finds faces in pictures, and in the pictures of directories and all below them.\n"
    "\n"
    "  -c, --cascade=FILE    what a face looks like, as OpenCV's trainer wrote it\n"
    "                        (/usr/share/opencv4/haarcascades/haarcascade_frontalface_alt2.xml)\n"
    "  -m, --min-size=N      the smallest face, in pixels (48)\n"
    "  -s, --step=FACTOR     look for faces of each size and of this many times that, and so on (1.1)\n"
    "  -k, --certainty=N     how many hits around a face make it one (4)\n"
    "  -t, --threads=N       work with so many threads; 0: as many as there are processors (0)\n"
    "  -e, --empty           also list pictures without a face\n"
    "  -h, --help\n"
    "\n"
    "For each picture one line: its name, how many faces, and each as X,Y,WIDTHxHEIGHT.\n"
    "Exit status: 0, or 1 where something could not be read or written, 2 for a wrong command line.\n";

struct Options {
  FaceFinder::Options finder;
  int threads = 0;
  bool empty = false;
  std::vector<std::string> paths;
};

struct Summary {
  size_t pictures = 0;
  size_t with_faces = 0;
  size_t faces = 0;
  size_t errors = 0;
};

void
complain(const std::string &what)
{
  std::cerr << "image-search: " << what << "\n";
}

/* Reads a number; false where it is none, less than the least, or has a fraction that Number has not. */
template <typename Number>
bool
read_number(const char *text, double least, Number &number)
{
  char *end;
  double value = std::strtod(text, &end);
  if (end == text || *end || !(value >= least && value <= 10000))
    return false;
  number = static_cast<Number>(value);
  return number == value;
}

/* Sets one option; false where its value is none. */
bool
set_option(Options &options, int letter, const char *value)
{
  switch (letter) {
  case 'c':
    options.finder.cascade = value;
    return true;
  case 'm':
    return read_number(value, 1, options.finder.min_size);
  case 's':
    return read_number(value, 1.01, options.finder.step);
  case 'k':
    return read_number(value, 1, options.finder.certainty);
  case 't':
    return read_number(value, 0, options.threads);
  default:
    options.empty = true;
    return true;
  }
}

/* The command line, or the status to exit with. */
std::optional<int>
parse(int argc, char **argv, Options &options)
{
  const option names[] = {
      {"cascade", required_argument, nullptr, 'c'}, {"min-size", required_argument, nullptr, 'm'},
      {"step", required_argument, nullptr, 's'},    {"certainty", required_argument, nullptr, 'k'},
      {"threads", required_argument, nullptr, 't'}, {"empty", no_argument, nullptr, 'e'},
      {"help", no_argument, nullptr, 'h'},          {}};
  for (int letter; (letter = getopt_long(argc, argv, "c:m:s:k:t:eh", names, nullptr)) != -1;) {
    if (letter == 'h') {
      std::cout << usage;
      return 0;
    }
    if (letter == '?')
      return 2;
    if (!set_option(options, letter, optarg)) {
      complain(std::string(optarg) + " is out of range for -" + static_cast<char>(letter));
      return 2;
    }
  }
  options.paths.assign(argv + optind, argv + argc);
  if (!options.paths.empty())
    return std::nullopt;
  complain("write: image-search PATH...; --help tells more");
  return 2;
}

bool
is_picture(const fs::path &path)
{
  static const char *const endings[] = {".jpg", ".jpeg", ".png",  ".bmp", ".pgm",
                                        ".ppm", ".tif",  ".tiff", ".webp"};
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return std::find(std::begin(endings), std::end(endings), ending) != std::end(endings);
}

/* Adds the pictures of a directory and all below it. */
void
list_pictures(const fs::path &path, std::vector<std::string> &found, Summary &summary)
{
  /* A link that leads nowhere is no error, and one to a directory is not followed. */
  std::error_code error, nowhere;
  for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error))
    if (fs::is_directory(at->symlink_status(nowhere)))
      list_pictures(at->path(), found, summary);
    else if (at->is_regular_file(nowhere) && is_picture(at->path()))
      found.push_back(at->path().string());
  if (error) {
    complain(path.string() + ": " + error.message());
    summary.errors++;
  }
}

/* The pictures of a directory, sorted; anything else is itself. */
std::vector<std::string>
find_pictures(const std::string &path, Summary &summary)
{
  std::error_code error;
  std::vector<std::string> found;
  if (!fs::is_directory(path, error))
    return {path};
  list_pictures(path, found, summary);
  std::sort(found.begin(), found.end());
  return found;
}

/* Empty where it cannot be read. OpenCV throws where a picture says that it is enormous. */
cv::Mat
read_picture(const std::string &path)
{
  try {
    return cv::imread(path, cv::IMREAD_GRAYSCALE);
  } catch (const std::exception &) {
    return {};
  }
}

void
search(FaceFinder &finder, const std::string &path, bool list_empty, Summary &summary)
{
  cv::Mat picture = read_picture(path);
  if (picture.empty()) {
    complain(path + ": this cannot be read as a picture");
    summary.errors++;
    return;
  }
  std::vector<cv::Rect> faces = finder.find(picture);
  summary.pictures++;
  summary.with_faces += !faces.empty();
  summary.faces += faces.size();
  if (faces.empty() && !list_empty)
    return;
  std::cout << path << ": " << faces.size();
  for (const cv::Rect &face : faces)
    std::cout << " " << face.x << "," << face.y << "," << face.width << "x" << face.height;
  std::cout << "\n";
}

} // namespace

int
main(int argc, char **argv)
{
  Options options;
  Summary summary;
  if (auto status = parse(argc, argv, options))
    return *status;
  if (options.threads > 0)
    cv::setNumThreads(options.threads);
  try {
    FaceFinder finder(options.finder);
    for (const std::string &path : options.paths)
      for (const std::string &picture : find_pictures(path, summary))
        search(finder, picture, options.empty, summary);
  } catch (const std::exception &error) {
    complain(error.what());
    return 1;
  }
  std::cout << summary.faces << " faces in " << summary.with_faces << " of " << summary.pictures
            << " pictures\n"
            << std::flush;
  if (!std::cout) {
    complain("the output cannot be written");
    return 1;
  }
  return summary.errors ? 1 : 0;
}
