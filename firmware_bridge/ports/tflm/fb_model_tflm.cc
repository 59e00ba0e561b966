/*! @file
 * See fb_model_tflm.h. */
#include "fb_model_tflm.h"

#include <cstdlib>
#include <cstring>

#include "tensorflow/lite/schema/schema_generated.h"

namespace fb {

ModelRunner::ModelRunner(const fb_model_t& model, const tflite::MicroOpResolver& resolver, std::uint8_t* arena,
                         std::size_t arena_len)
    : model_(model), file_(tflite::GetModel(model.data)), interpreter_(file_, resolver, arena, arena_len) {}

RunnerStatus ModelRunner::Begin() {
  if (file_->version() != TFLITE_SCHEMA_VERSION) {
    return RunnerStatus::kWrongSchema;
  }
  if (interpreter_.AllocateTensors() != kTfLiteOk) {
    return RunnerStatus::kNoMemory;
  }
  if (interpreter_.inputs_size() != model_.n_inputs || interpreter_.outputs_size() != 1) {
    return RunnerStatus::kWrongTensors;
  }
  // TFLM binds by position and knows no names: position, type and size are what can be held against the card.
  for (std::size_t k = 0; k < model_.n_inputs; k++) {
    const fb_model_input_t& card = model_.inputs[k];
    const TfLiteTensor* tensor = interpreter_.input(card.index);
    if (tensor == nullptr || tensor->type != kTfLiteInt8 || tensor->bytes != card.n_values ||
        tensor->params.scale != card.scale || tensor->params.zero_point != card.zero_point) {
      return RunnerStatus::kWrongTensors;
    }
  }
  const TfLiteTensor* output = interpreter_.output(0);
  if (output == nullptr || output->type != kTfLiteInt8 || output->bytes != model_.n_labels) {
    return RunnerStatus::kWrongTensors;
  }
  is_ready_ = true;
  return RunnerStatus::kOk;
}

RunnerStatus ModelRunner::Run(const std::int8_t* const* inputs, std::int8_t* output) {
  if (!is_ready_) {
    return RunnerStatus::kFailed;
  }
  // TFLM reuses the memory of inputs while it computes: all of them are written anew each time.
  for (std::size_t k = 0; k < model_.n_inputs; k++) {
    const fb_model_input_t& card = model_.inputs[k];
    std::memcpy(interpreter_.input(card.index)->data.int8, inputs[k], card.n_values);
  }
  if (interpreter_.Invoke() != kTfLiteOk) {
    return RunnerStatus::kFailed;
  }
  std::memcpy(output, interpreter_.output(0)->data.int8, model_.n_labels);
  return RunnerStatus::kOk;
}

SelfTest ModelRunner::Check(const fb_model_golden_t* golden, std::size_t n_golden) {
  SelfTest found = {RunnerStatus::kOk, 0, -1};
  std::int8_t output[FB_MODEL_LABELS_MAX];
  for (std::size_t number = 0; number < n_golden; number++) {
    const fb_model_golden_t& vector = golden[number];
    found.status = Run(vector.inputs, output);
    if (found.status != RunnerStatus::kOk) {
      return found;
    }
    for (std::size_t k = 0; k < model_.n_labels; k++) {
      const int gateway_lsb = std::abs(output[k] - vector.gateway[k]);
      found.largest_gateway_lsb = gateway_lsb > found.largest_gateway_lsb ? gateway_lsb : found.largest_gateway_lsb;
      if (vector.micro != nullptr) {
        const int micro_lsb = std::abs(output[k] - vector.micro[k]);
        found.largest_micro_lsb = micro_lsb > found.largest_micro_lsb ? micro_lsb : found.largest_micro_lsb;
      }
    }
  }
  return found;
}

}  // namespace fb
