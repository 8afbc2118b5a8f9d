"""Which rule gives the sizes of which operator of ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fti_assets.stores.models.graphs.onnx_parts import Node
from fti_assets.stores.models.graphs.size_rules.elementwise import ARITHMETIC, cast, elementwise, recast
from fti_assets.stores.models.graphs.size_rules.layers import (
    attention,
    blocks,
    conv,
    crop_or_pad,
    crops,
    dense_map,
    einsum,
    feature_sizes,
    fourier,
    fused_matmul,
    gemm,
    global_pool,
    grid_sample,
    grid_sizes,
    image_sizes,
    labels,
    likely_typed,
    losses,
    matmul,
    mel,
    multinomial,
    ngrams,
    pool,
    quantized_sizes,
    recurrent,
    regions,
    selection_sizes,
    short_fourier,
    size_widths,
    split_text,
    target_sizes,
    text_at_most,
    text_concat,
    unpool,
    vectors,
    weights_at,
    window_of,
    with_statistics,
    without_matrix,
)
from fti_assets.stores.models.graphs.size_rules.shapes import (
    REDUCTIONS,
    arg_reduce,
    by_attribute,
    by_indices,
    compress,
    concat,
    constant_of_shape,
    constant_value,
    expand,
    flatten,
    gather,
    non_zero,
    one_hot,
    pad,
    range_of,
    reduce,
    reshape,
    resize,
    sequence_length,
    sequence_of,
    shape_of,
    size_of,
    slice_of,
    split_sizes,
    split_to_sequence,
    squeeze,
    tile,
    top_sizes,
    transpose,
    unique_values,
    unsqueeze,
)
from fti_assets.stores.models.graphs.size_rules.tensor_size import TensorSize, like_first, second_shape

_SAME = (
    "Identity", "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Softmax", "LogSoftmax", "Erf", "Sin", "Cos", "Tan", "LeakyRelu", "Elu", "Selu",
    "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Gelu", "Mish", "Sign", "Reciprocal", "Clip", 
    "InstanceNormalization", "GroupNormalization", "LpNormalization", "CumSum", "Hardmax", "Celu", "ThresholdedRelu",
    "ScatterND", "ScatterElements", "Scatter", "EyeLike", "RandomUniformLike", "RandomNormalLike", "Bernoulli", "Trilu", "ReverseSequence",
    "Acos", "Asin", "Atan", "Acosh", "Asinh", "Atanh", "Sinh", "Cosh", "Scaler", "Binarizer", "Imputer", "Normalizer", "Shrink",
    "BitwiseNot", "CumProd", "IsInf", "IsNaN", "LRN", "MeanVarianceNormalization", "RMSNormalization", "RotaryEmbedding", "Swish",
    "RegexFullMatch", "TensorScatter", "SwiGLU", "Optional", "OptionalGetElement",
)  # fmt: skip
_BROADCAST = (
    *(op for op in ARITHMETIC), "Div", "GreaterOrEqual", "LessOrEqual", "Xor", "PRelu", "Sum", "Mean", "BitShift", "BitwiseAnd",
    "BitwiseOr", "BitwiseXor",
)  # fmt: skip
_SEQUENCES = (
    "SequenceConstruct",
    "SequenceInsert",
    "SequenceErase",
    "SequenceAt",
    "SequenceEmpty",
    "ConcatFromSequence",
)
RULES: dict[str, Callable[[Node, list[TensorSize | None]], TensorSize | Sequence[TensorSize | None] | None]] = {
    **dict.fromkeys(_SAME, like_first),
    **dict.fromkeys(_BROADCAST, elementwise),
    **dict.fromkeys((*REDUCTIONS, "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare"), reduce),
    **dict.fromkeys(("RandomUniform", "RandomNormal"), by_attribute),
    **dict.fromkeys(("Resize", "Upsample"), resize),
    "Constant": constant_value, "ConstantOfShape": constant_of_shape, "Expand": expand, "Tile": tile, "Range": range_of, "Pad": pad,
    "OneHot": one_hot, "Shape": shape_of, "Size": size_of, "MatMul": matmul, "Gemm": gemm, "Concat": concat, "Gather": gather,
    "GatherElements": second_shape, "Reshape": reshape, "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Transpose": transpose,
    "Flatten": flatten, "Slice": slice_of, "Cast": cast, "StringConcat": text_concat, "Einsum": einsum, "Conv": conv,
    "ConvTranspose": conv, "MaxPool": pool, "AveragePool": pool, "LpPool": pool, "Multinomial": multinomial,
    **dict.fromkeys(("Dropout", "LayerNormalization", "BatchNormalization"), with_statistics),
    "ArgMax": arg_reduce, "ArgMin": arg_reduce, "BitCast": recast, "CastLike": likely_typed, "DequantizeLinear": size_widths,
    "QuantizeLinear": size_widths, "DynamicQuantizeLinear": size_widths, "LabelEncoder": labels, "CategoryMapper": labels,
    "ConvInteger": weights_at(1, 4), "MatMulInteger": weights_at(1, 4), "QLinearConv": weights_at(3, 1),
    "QLinearMatMul": weights_at(3, 1), "DeformConv": weights_at(1, 1), "NonZero": non_zero, "Compress": compress, "Unique": unique_values,
    "TopK": top_sizes, "Split": split_sizes, "SplitToSequence": split_to_sequence, "GatherND": by_indices,
    **dict.fromkeys(_SEQUENCES, sequence_of),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), global_pool), "GridSample": grid_sample,
    "RoiAlign": regions, "MaxRoiPool": regions, "MaxUnpool": unpool, "NonMaxSuppression": selection_sizes,
    **dict.fromkeys(("RNN", "GRU", "LSTM"), recurrent), "DepthToSpace": blocks, "SpaceToDepth": blocks,
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"), window_of), "MelWeightMatrix": mel, "DFT": fourier,
    "STFT": short_fourier, "CenterCropPad": crop_or_pad, "Col2Im": image_sizes, "AffineGrid": grid_sizes, "StringSplit": split_text,
    "StringNormalizer": text_at_most, "Attention": attention, "SoftmaxCrossEntropyLoss": losses,
    "NegativeLogLikelihoodLoss": losses, "Det": without_matrix, "TfIdfVectorizer": ngrams, "FeatureVectorizer": vectors,
    "LinearRegressor": target_sizes, "TreeEnsembleRegressor": target_sizes, "TreeEnsemble": target_sizes,
    "ArrayFeatureExtractor": feature_sizes,
    "CastMap": dense_map, "SequenceLength": sequence_length, "OptionalHasElement": sequence_length,
}  # fmt: skip


OF_MICROSOFT: dict[str, Callable[[Node, list[TensorSize | None]], TensorSize | Sequence[TensorSize | None] | None]] = {
    **{op: RULES[op] for op in ("Pad", "Range", "Unique", "GatherND", "Trilu", "Gelu")},
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), quantized_sizes), "FusedMatMul": fused_matmul, "TransposeMatMul": fused_matmul,
    "FusedGemm": gemm, "FusedConv": conv, "ConvTransposeWithDynamicPads": conv, "CropAndResize": crops,
}  # fmt: skip
"""Rules for operators of onnxruntime's own that give more than they are given."""
BY_ATTRIBUTE = {
    **dict.fromkeys(("RandomUniform", "RandomNormal"), ("shape",)),
    **dict.fromkeys(
        (
            "Conv", "ConvTranspose", "FusedConv", "ConvTransposeWithDynamicPads", "ConvInteger", "QLinearConv", "DeformConv", "MaxPool",
            "AveragePool", "LpPool", "MaxUnpool",
        ),
        ("kernel_shape", "strides", "pads", "output_padding", "output_shape"),
    ),
    "Pad": ("pads",), "Multinomial": ("sample_size",), "RoiAlign": ("output_height", "output_width"), "MaxRoiPool": ("pooled_shape",),
    "TfIdfVectorizer": ("ngram_indexes",), "FeatureVectorizer": ("inputdimensions",), "LinearRegressor": ("targets",),
    "TreeEnsembleRegressor": ("n_targets",), "TreeEnsemble": ("n_targets",), "CastMap": ("max_map",),
}  # fmt: skip
"""Attributes that say how large an output is."""
RISING = frozenset((
    "Add", "Mul", "Max", "Sum", "Concat", "Gather", "Cast", "Unsqueeze", "Squeeze", "Reshape", "Identity", "Slice", "Expand", "Tile",
    "Shape", "Size", "Split", "Transpose", "ReduceSum", "ReduceProd", "ReduceMax",
))  # fmt: skip
"""Operators that give no larger values for values that are no larger, and not negative."""
MULTIPLYING = frozenset((
    *_BROADCAST, "MatMul", "Gemm", "Einsum", "Gather", "GatherND", "ConvTranspose", "Conv", "ConvInteger", "MatMulInteger", "QLinearMatMul",
    "QLinearConv", "DeformConv", "Attention", "ArrayFeatureExtractor", "RoiAlign", "MaxRoiPool", "NonMaxSuppression", "RNN", "GRU", "LSTM",
)) - {"Not", "Neg", "Abs", "Floor", "Ceil", "Round", "Sqrt"}  # fmt: skip
"""Operators that give at most as many values as those of their inputs make together, each with each; all others as many as in sum."""
WIDENING = frozenset(
    ("Cast", "CastLike", "NonZero", "DequantizeLinear", "ArgMax", "ArgMin", "Unique", "TopK", "EyeLike", "StringSplit")
)
"""Operators of which a value may take more bytes than those that it is made of."""
