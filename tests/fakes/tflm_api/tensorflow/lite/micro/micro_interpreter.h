// See micro_op_resolver.h.  Who links with it defines the two functions: what tensors the model has, and what it answers.
#ifndef TFLM_API_MICRO_INTERPRETER_H
#define TFLM_API_MICRO_INTERPRETER_H

#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/micro/micro_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

#define TFLITE_SCHEMA_VERSION (3)

enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt8 = 9 };
struct TfLiteTensor {
  TfLiteType type;
  union {
    std::int8_t* int8;
  } data;
  std::size_t bytes;
  struct {
    float scale;
    std::int32_t zero_point;
  } params;
};

constexpr std::size_t kTensors = 4;
struct StandIn {
  std::size_t n_inputs;
  TfLiteTensor inputs[kTensors];
  TfLiteTensor output;
};
void DescribeTensors(StandIn* model);
TfLiteStatus Answer(StandIn* model);

namespace tflite {
class MicroInterpreter {
 public:
  MicroInterpreter(const Model*, const MicroOpResolver&, std::uint8_t*, std::size_t arena_len)
      : arena_len_(arena_len) {
    DescribeTensors(&model_);
  }
  TfLiteStatus AllocateTensors() { return arena_len_ >= 64 ? kTfLiteOk : kTfLiteError; }
  TfLiteStatus Invoke() { return Answer(&model_); }
  std::size_t inputs_size() const { return model_.n_inputs; }
  std::size_t outputs_size() const { return 1; }
  TfLiteTensor* input(std::size_t index) { return index < model_.n_inputs ? &model_.inputs[index] : nullptr; }
  TfLiteTensor* output(std::size_t) { return &model_.output; }
  std::size_t arena_used_bytes() const { return 64; }

 private:
  StandIn model_ = {};
  std::size_t arena_len_;
};
}  // namespace tflite

#endif
