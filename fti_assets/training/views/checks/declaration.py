"""A view as it is declared: its features, labels, encoders and the types that are known."""

from __future__ import annotations

from fti_assets.training.encoders.declarations import check_encoders
from fti_assets.training.views.checks.encoders import check_dims, refuse_unknown
from fti_assets.training.views.checks.features import check_features
from fti_assets.training.views.checks.labels import check_labels
from fti_assets.training.views.checks.types import check_key_types, check_label_types, declared_features
from fti_assets.training.views.terms import ViewTerms


def check_view(view: ViewTerms) -> None:
    """Refuse a view that names what is not there, or that cannot be joined.

    Raises:
        DeclarationError: it says what is wrong.
    """
    check_features(view)
    check_labels(view)
    refuse_unknown(view, view.encoders, what=f"view {view.name!r}")
    check_declared_types(view)


def check_declared_types(view: ViewTerms) -> None:
    """Check encoders and key types as far as schemas declare them; the rest is known when the view is stored."""
    spine_types = view.spine.columns or {}
    for selection in view.joined:
        check_key_types(view, selection, selection.group.columns or {}, spine_types)
    if features := declared_features(view):
        names = {column.name for column in features}
        declared = {name: encoder for name, encoder in view.encoders.items() if name in names}
        check_encoders(features, declared, untyped=[name for name in view.feature_names if name not in names])
        check_dims(view, view.encoders)
    for name, label in view.labels.items():
        label_types = label.group.columns or {}
        if label_types.get(label.name) is not None:
            check_label_types(view, name, label, label_types, spine_types)
