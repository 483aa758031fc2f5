/* Finds faces in pictures. */
#pragma once

#include <string>
#include <vector>

#include <opencv2/core.hpp>
#include <opencv2/objdetect.hpp>

class FaceFinder
{
public:
  struct Options {
    /* What a face looks like, as OpenCV's trainer wrote it. */
    std::string cascade = "/usr/share/opencv4/haarcascades/haarcascade_frontalface_alt2.xml";
    /* The smallest face, in pixels. */
    int min_size = 48;
    /* From one size of faces to the next. */
    double step = 1.1;
    /* How many hits around a face make it one. */
    int certainty = 4;
  };

  /* Throws std::runtime_error where the cascade cannot be read. */
  explicit FaceFinder(const Options &options);

  /* Where faces are in a grey picture, from the top down and from the left. */
  std::vector<cv::Rect> find(const cv::Mat &picture);

private:
  Options options;
  cv::CascadeClassifier classifier;
};
