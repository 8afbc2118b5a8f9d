"""Gates: what a challenger must do on the test split before it may be the champion."""
