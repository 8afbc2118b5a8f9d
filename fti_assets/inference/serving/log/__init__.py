"""The prediction log as a server or an app writes it: lines, files and the writer; neither Dagster nor the lake."""
